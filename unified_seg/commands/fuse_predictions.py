"""Fuse the instance and semantic predictions of any models."""

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from tqdm import tqdm

import unified_seg  # noqa: F401  (registers the data sets)
from unified_seg.data.coco.categories import read_categories, to_coco_categories
from unified_seg.data.coco.prediction_confidence import SOFT_MASK, read_confidence, read_soft_masks
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
from unified_seg.data.io.label_files import write_array_png, write_png
from unified_seg.data.io.open_image import set_max_pixels
from unified_seg.data.io.semantic_labels import PixelValues
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.fusion.evidence import SemanticEvidence, fuse_by_evidence
from unified_seg.fusion.score_order import merge_by_score
from unified_seg.fusion.semantic_guided import SemanticGuidedOptions, SemanticGuidedResult, fuse_semantic_guided
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.panoptic_map import PanopticMap
from unified_seg_arrays.fusion.evidence_weights import group_classes

Json = dict[str, Any]

logger = logging.getLogger(__name__)


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
        if self.args.method == "evidence":
            self.log_missing_confidences()
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
        if args.method == "evidence":
            soft_masks = read_soft_masks(detections, masks, args.score_threshold)
            evidence = self.read_evidence(image, labels)
            fused = fuse_by_evidence(evidence, masks, soft_masks, *inputs[2:], fusion_options(args))
        else:
            fused = fuse_semantic_guided(*inputs, fusion_options(args))
        if args.refined_semantic:
            pixels = self.values.from_semantic[fused.labels.numpy()]
            write_array_png(make_png_path(args.refined_semantic, image), pixels, compress_level=6)
        return fused.panoptic, refined_records(image, detections, fused, self.table) if args.refined_instances else []

    def read_evidence(self, image: ImageInfo, labels: torch.Tensor) -> SemanticEvidence:
        """Return the semantic map with its confidence, which is certain without --confidences."""
        if self.args.confidences is None:
            return SemanticEvidence.from_labels(labels)
        path = image.resolve_png(self.args.confidences).with_suffix("")
        groups = torch.from_numpy(group_classes(self.table))
        return SemanticEvidence(labels, *read_confidence(path, labels, groups, self.args.stride))

    def log_missing_confidences(self) -> None:
        """Log which predictions count as certain, since their files do not say how sure they are."""
        records = [detection.record for each in self.detections.values() for detection in each]
        if self.args.confidences is None:
            logger.warning("no --confidences: the semantic maps count as certain, with cells of one pixel")
        if missing := sum(record.get(SOFT_MASK) is None for record in records):
            logger.warning(f"{missing} of {len(records)} instances have no {SOFT_MASK}: their masks count as certain")

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


def run(args: argparse.Namespace) -> None:
    set_max_pixels(args.max_pixels)
    Fuser(args).run()
