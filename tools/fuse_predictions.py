#!/usr/bin/env python3
"""Fuse the instance and semantic predictions of any models into panoptic predictions.

    python tools/fuse_predictions.py --instances coco_instances_results.json --semantic semantic_pngs/ \\
        --images image_info.json --categories panoptic_categories.json --output fused/
    python tools/fuse_predictions.py --instances ... --semantic ... --images ... --dataset unified_cityscapes_val \\
        --semantic-ids contiguous --output fused/ --refined-semantic refined/ --refined-instances refined.json

Inputs are a COCO result list (image_id, category_id, score, and segmentation as run lengths or polygons) and, for each
image, a PNG of class ids with the name of the image. Outputs are panoptic.json and the folder panoptic/ in COCO's
panoptic format and, optionally, semantic PNGs and instances as refined by the fusion. See docs/fusing_predictions.md.
"""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from tqdm import tqdm

import unified_seg  # noqa: F401  (registers the data sets)
from unified_seg.cli import ToolParser, run_tool
from unified_seg.cli.types import fraction
from unified_seg.data.coco.categories import read_categories, to_coco_categories
from unified_seg.data.coco.prediction_files import (
    Detection,
    ImageInfo,
    find_semantic_maps,
    read_detections,
    read_images,
    read_masks,
    read_semantic_map,
)
from unified_seg.data.coco.rle import encode_masks
from unified_seg.data.io.label_files import write_png
from unified_seg.data.io.pixel_limit import DEFAULT_MAX_PIXELS, set_max_pixels
from unified_seg.data.io.semantic_labels import ID_KINDS, PixelValues
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.fusion.score_order import merge_by_score
from unified_seg.fusion.semantic_guided import SemanticGuidedOptions, SemanticGuidedResult, fuse_semantic_guided
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.panoptic_map import PanopticMap

Json = dict[str, Any]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    add = parser.add_argument
    add("--instances", type=Path, required=True, metavar="FILE", help="COCO instance results")
    add("--semantic", type=Path, required=True, metavar="FOLDER", help="semantic PNGs")
    add("--images", type=Path, required=True, metavar="FILE", help='a JSON with a COCO list "images"')
    classes = parser.add_mutually_exclusive_group(required=True)
    classes.add_argument("--dataset", metavar="NAME", help="a registered data set with these classes")
    classes.add_argument("--categories", type=Path, metavar="FILE", help="COCO panoptic categories")
    add("--use-supercategories", action="store_true", help="let classes of a supercategory exchange pixels")
    values = "values in the PNGs: category ids, or 0 .. K-1 in their order; 255 is void, and 0 unless it is a class"
    add("--semantic-ids", choices=ID_KINDS, default="dataset", help=values)
    parser.add_output("the folder for panoptic.json and panoptic/")
    add("--refined-semantic", type=Path, metavar="FOLDER", help="the folder for the refined semantic PNGs")
    add("--refined-instances", type=Path, metavar="FILE", help="the file for the refined instances")
    add("--method", choices=("semantic-guided", "score-order"), default="semantic-guided", help="the fusion")
    for name, default, help in (
        ("--score-threshold", 0.5, "lowest score of an instance"),
        ("--overlap-threshold", 0.5, "largest fraction of an instance that better ones may cover"),
        ("--min-stuff-area", 0.002, "smallest area of a stuff class, as a fraction of the image"),
        ("--min-segment-area", 0.0005, "smallest area of a thing without a detection, as a fraction of the image"),
    ):
        add(name, type=fraction, default=default, metavar="F", help=f"{help}; default: {default}")
    connectivity = "neighbors of a pixel for paths and components in the semantic map; default: 4"
    add("--connectivity", type=int, choices=(4, 8), default=4, help=connectivity)
    parser.add_count("--max-pixels", "refuse images with more pixels", default=DEFAULT_MAX_PIXELS)
    args = parser.parse_args(arguments)
    if args.use_supercategories and not args.categories:
        parser.error("--use-supercategories needs --categories; a registered data set has its own groups of classes")
    if args.method == "score-order" and (args.refined_semantic or args.refined_instances):
        parser.error("--refined-semantic and --refined-instances need --method semantic-guided")
    folders = [args.semantic, args.output / "panoptic", args.refined_semantic]
    files = [args.instances, args.images, args.categories, args.output / "panoptic.json", args.refined_instances]
    for group in (folders, files):
        for path, times in Counter(path.resolve() for path in group if path is not None).items():
            if times > 1:
                parser.error(f"{path} is named twice and would be overwritten")
    return args


def fusion_options(args: argparse.Namespace) -> SemanticGuidedOptions:
    return SemanticGuidedOptions(
        score_threshold=args.score_threshold,
        overlap_threshold=args.overlap_threshold,
        min_stuff_area=args.min_stuff_area,
        min_segment_area=args.min_segment_area,
        connectivity=args.connectivity,
    )


def read_classes(args: argparse.Namespace) -> ClassTable:
    """Return the classes of --categories or --dataset.

    Raises:
        DataError: the file can't be used, or no such data set is registered.
    """
    if args.categories:
        return read_categories(args.categories, args.use_supercategories)
    if args.dataset not in DatasetCatalog.list():
        raise DataError(f"--dataset {args.dataset}: no such data set is registered")
    try:
        return ClassTable.from_metadata(MetadataCatalog.get(args.dataset))
    except ValueError as error:
        raise DataError(f"--dataset {args.dataset}: {error}") from None


class Fuser:
    """Fusion of one image after another, with the PNGs that it writes."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.table = read_classes(args)
        self.values = PixelValues.from_table(self.table, args.semantic_ids)
        self.images = read_images(args.images)
        self.semantic = find_semantic_maps(args.semantic, self.images)
        self.detections = read_detections(args.instances, self.images, self.table)

    def run(self) -> None:
        annotations, refined = [], []
        for image in tqdm(self.images, desc="fusing", unit="img", disable=None):
            panoptic, instances = self.fuse(image)
            annotations.append(self.write_panoptic(image, panoptic))
            refined += instances
        write_json(self.args.output / "panoptic.json", {**self.header(), "annotations": annotations}, indent=None)
        if self.args.refined_instances:
            write_json(self.args.refined_instances, refined, indent=None)
        segments = sum(len(annotation["segments_info"]) for annotation in annotations)
        print(f"{len(annotations)} images, {segments} segments: {self.args.output / 'panoptic.json'}")

    def fuse(self, image: ImageInfo) -> tuple[PanopticMap, list[Json]]:
        """Return the panoptic map of an image and, if requested, its refined instances; write its refined PNG."""
        args, detections = self.args, self.detections.get(image.id, [])
        # Read first: it checks the size of the image, so that no mask can claim more memory than a real PNG.
        labels = read_semantic_map(self.semantic[image.id], image, self.values)
        things = torch.tensor([d.thing_id for d in detections], dtype=torch.int64)
        scores = torch.tensor([d.record["score"] for d in detections], dtype=torch.float64)
        masks = read_masks(detections, image.size, args.score_threshold)
        inputs = (labels, masks, things, scores, self.table)
        if args.method == "score-order":
            panoptic = merge_by_score(
                *inputs,
                score_threshold=args.score_threshold,
                overlap_threshold=args.overlap_threshold,
                stuff_area_limit=math.ceil(args.min_stuff_area * labels.numel()),
            )
            return panoptic, []
        fused = fuse_semantic_guided(*inputs, fusion_options(args))
        if args.refined_semantic:
            pixels = self.values.from_semantic[fused.labels.numpy()]
            Image.fromarray(pixels).save(make_png_path(args.refined_semantic, image))
        return fused.panoptic, refined_records(image, detections, fused, self.table) if args.refined_instances else []

    def write_panoptic(self, image: ImageInfo, panoptic: PanopticMap) -> Json:
        """Write the PNG and return the image's entry of panoptic.json."""
        write_png(make_png_path(self.args.output / "panoptic", image), panoptic.ids.numpy())
        classes = [self.table.find_class(s["category_id"], s["isthing"]) for s in panoptic.segments_info]
        segments = [
            {"id": s["id"], "category_id": c.dataset_id, "area": s["area"], "iscrowd": 0}
            for s, c in zip(panoptic.segments_info, classes)
        ]
        return {"image_id": image.id, "file_name": image.png, "segments_info": segments}

    def header(self) -> Json:
        """Return the content of COCO's panoptic JSON without its annotations."""
        images = [{"id": i.id, "file_name": i.file_name, "height": i.size[0], "width": i.size[1]} for i in self.images]
        return {"images": images, "categories": to_coco_categories(self.table.classes)}


def refined_records(
    image: ImageInfo, detections: Sequence[Detection], fused: SemanticGuidedResult, table: ClassTable
) -> list[Json]:
    """Return the given records with refined masks, then the instances found in the semantic map, marked `found`."""
    # pycocotools computes area and box from the masks if no record has a "bbox"; if one has it, all must.
    records: list[Json] = [{k: v for k, v in d.record.items() if k not in ("bbox", "area")} for d in detections]
    for thing_id, score in zip(fused.thing_ids[fused.found].tolist(), fused.scores[fused.found].tolist()):
        category_id = table.things[thing_id].dataset_id
        records.append({"image_id": image.id, "category_id": category_id, "score": score, "found": True})
    kept = fused.kept.nonzero()[:, 0].tolist()
    for index, rle in zip(kept, encode_masks(fused.masks[kept])):
        records[index]["segmentation"] = rle
    return records


def make_png_path(folder: Path, image: ImageInfo) -> Path:
    """Return the path of the image's PNG in a folder, and make the folders above it."""
    path = image.resolve_output_png(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    set_max_pixels(args.max_pixels)
    run_tool(lambda: Fuser(args).run(), also=(OSError,))


if __name__ == "__main__":
    main()
