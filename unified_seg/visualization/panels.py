"""The outputs of a model as panels: the image, its semantic map, its instances, its panoptic segments, its levels.

T: N = instances, K = semantic classes, (H, W) = the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from detectron2.structures import Instances

from unified_seg.config.heads import earlier_predictions, registered_heads
from unified_seg.ops.id_maps import measure_segments
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg.visualization.canvas import VOID, Segment, draw_segments, to_canvas
from unified_seg.visualization.colors import Color, assign_shades
from unified_seg.visualization.scene import Scene
from unified_seg.visualization.sheet import add_caption, draw_legend, make_grid, stack_pictures

LegendMode = Literal["present", "all", "none"]
KINDS = ("semantic", "instances", "panoptic")

SEMANTIC_OPACITY = 0.8
INSTANCE_OPACITY = 0.7
PANOPTIC_OPACITY = 0.8


@dataclass(frozen=True)
class Panel:
    """A map of segments ready to be painted.

    Attributes:
        caption: what it shows.
        ids: (H, W) int32, 0 where there is no segment.
        segments: what the ids mean.
        opacity: of the segments.
        hatch_void: whether a pixel without a segment is void, or just not an instance.
        colors: the class colors to explain in the legend, by class name.
    """

    caption: str
    ids: np.ndarray
    segments: list[Segment]
    opacity: float
    hatch_void: bool
    colors: dict[str, Color] = field(default_factory=dict)

    def draw(self, image: np.ndarray, prefix: str = "") -> np.ndarray:
        """(H, W, 3) uint8 RGB -> the picture of this panel under its caption."""
        picture = draw_segments(image, self.ids, self.segments, opacity=self.opacity, hatch_void=self.hatch_void)
        return add_caption(picture, prefix + self.caption)


def draw_panels(
    image: np.ndarray,
    outputs: Mapping[str, Any],
    metadata: Any,
    confidence_threshold: float = 0.5,
    legend: LegendMode = "present",
    ground_truth: np.ndarray | None = None,
) -> np.ndarray:
    """Draw the image beside all predictions of a model for it.

    If the fusion refines them, semantic map and instances are drawn before and after it, beside each other: after it
    without the detections that it dropped, and with the instances that it found by semantics, whatever their score.
    The earlier predictions of wrapper heads follow in the order of their steps, then the pictures and, below all, the
    sheets that the heads declare (`SemanticHead.draw_pictures`, `draw_sheet`).

    A class has one color in every panel and picture, and instances of a class have shades of it. Images narrower
    than 512 pixels are enlarged by a whole factor, so that the labels can be read.

    Args:
        image: (H, W, 3) uint8, RGB.
        outputs: of one image, in either form ("detectron2" or "compact"); panels without their key are left out;
            with `unfused` all are required.
        metadata: of the data set, as in Detectron2's MetadataCatalog.
        confidence_threshold: instances below this score, in [0, 1], are not drawn.
        legend: explain the colors of the classes that are "present", of "all" (pictures of one size for a video),
            or "none".
        ground_truth: (H, W) semantic ids or the ignore label; true errors are drawn beside predicted errors.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        ValueError: the image is not (H, W, 3), an output or the ground truth has another size, an unknown class id, or
            `unfused` without all predictions.
    """
    _check_image(image)
    image = np.ascontiguousarray(image)  # a BGR image turned by [::-1] is a view that OpenCV does not take
    table = ClassTable.from_metadata(metadata)
    panels = make_panels(outputs, table, confidence_threshold)
    pictures = [add_caption(to_canvas(image), f"input {image.shape[1]}×{image.shape[0]}")]
    earlier = _earlier_panels(image, outputs, table)
    earlier_pictures = [panel.draw(image, f"before {what} · ") for what, panel in earlier.items()]
    shown = [*earlier.values(), *panels.values()]
    if "unfused" in outputs:
        before = make_panels(outputs["unfused"], table, confidence_threshold)
        _check_fused(panels, before)
        shown = [*before.values(), *shown]
        pictures += _before_and_after(image, before["semantic"], panels["semantic"], "fusion")
        pictures += [panels["panoptic"].draw(image)]
        pictures += _before_and_after(image, before["instances"], panels["instances"], "fusion")
        pictures += earlier_pictures
    else:
        if earlier:
            last = list(earlier)[-1]
            pictures += [*earlier_pictures, panels.pop("semantic").draw(image, f"after {last} · ")]
        pictures += [panel.draw(image) for panel in panels.values()]
    scene = Scene(image, outputs, table, ground_truth)
    heads = registered_heads().values()
    for head in heads:
        pictures += head.draw_pictures(scene)
    columns = _columns(len(pictures), wide=image.shape[1] > image.shape[0])
    sheets = [head.draw_sheet(scene, columns) for head in heads]
    whole = stack_pictures([make_grid(pictures, columns), *(sheet for sheet in sheets if sheet is not None)])
    return add_legend(whole, shown, table, legend)


def make_panels(outputs: Mapping[str, Any], table: ClassTable, confidence_threshold: float = 0.5) -> dict[str, Panel]:
    """Return the panels of the outputs, except `unfused`, by KINDS; raises ValueError as `draw_panels`."""
    panels = {}
    if "sem_seg_labels" in outputs or "sem_seg" in outputs:
        panels["semantic"] = _semantic_panel(outputs, table)
    if "instances" in outputs:
        given = _visible(outputs["instances"], confidence_threshold)
        shown = _visible(_kept_instances(outputs), confidence_threshold)
        panels["instances"] = _instance_panel(shown, table, confidence_threshold, dropped=len(given) - len(shown))
    if "panoptic_seg" in outputs:
        panels["panoptic"] = _panoptic_panel(outputs["panoptic_seg"], table)
    return panels


def add_legend(picture: np.ndarray, panels: Sequence[Panel], table: ClassTable, legend: LegendMode) -> np.ndarray:
    """The picture above a legend of its classes, in the order of the class table."""
    present = {name: color for panel in panels for name, color in panel.colors.items()}
    everything = {c.name: c.color for c in table.classes}
    shown = everything if legend == "all" else {n: c for n, c in everything.items() if n in present} | present
    if legend == "none" or not shown:
        return picture
    return stack_pictures([picture, draw_legend(list(shown.items()), picture.shape[1])])


def _columns(pictures: int, wide: bool) -> int:
    """Four wide pictures are shown two by two."""
    return (2 if wide else 4) if pictures == 4 else min(pictures, 3)


def _earlier_panels(image: np.ndarray, outputs: Mapping[str, Any], table: ClassTable) -> dict[str, Panel]:
    """The semantic panels from before what heads around others do, by what that is; the innermost head's first."""
    # A wrapper puts its maps behind those of its base head.
    steps = earlier_predictions()
    return {
        steps[name]: _semantic_panel({"sem_seg_labels": logits.labels(image.shape[:2])}, table)
        for name, logits in outputs.get("semantic_logit_maps", {}).items()
        if name in steps
    }


def _before_and_after(image: np.ndarray, before: Panel, after: Panel, what: str) -> list[np.ndarray]:
    return [before.draw(image, f"before {what} · "), after.draw(image, f"after {what} · ")]


def _check_fused(panels: Mapping[str, Panel], before: Mapping[str, Panel]) -> None:
    if set(panels) != set(KINDS) or not {"semantic", "instances"} <= set(before):
        raise ValueError(
            "outputs with `unfused` need a semantic map and instances before and after the fusion, and a panoptic map; "
            f"before there are {sorted(before)}, after {sorted(panels)}"
        )


def _semantic_panel(outputs: Mapping[str, Any], table: ClassTable) -> Panel:
    if "sem_seg_labels" in outputs:
        labels = _array(outputs["sem_seg_labels"])
    else:
        labels = _array(torch.as_tensor(outputs["sem_seg"]).argmax(dim=0))
    present = [i for i in np.unique(labels).tolist() if i != table.ignore_label]
    outside = [i for i in present if not 0 <= i < table.num_semantic]
    if outside:
        raise ValueError(
            f"the semantic map has the ids {outside}, but the class table has 0 .. {table.num_semantic - 1}"
        )
    names, colors = table.semantic_names, table.semantic_colors
    segments = [Segment(i + 1, colors[i], names[i], is_thing=False) for i in present]
    ids = np.where(labels == table.ignore_label, VOID, labels + 1).astype(np.int32)
    seen = {names[i]: colors[i] for i in present}
    return Panel(f"semantic: {_count(len(present), 'class', 'classes')}", ids, segments, SEMANTIC_OPACITY, True, seen)


def _instance_panel(instances: Instances, table: ClassTable, confidence_threshold: float, dropped: int) -> Panel:
    classes = [_thing(table, i) for i in instances.pred_classes.tolist()]
    boxes = instances.pred_boxes.tensor.detach().cpu().numpy()
    shades = assign_shades([c.color for c in classes], boxes)
    labels = _instance_labels(instances, [c.name for c in classes])
    segments = [
        Segment(i, shade, label, is_thing=True, box=tuple(box))
        for i, (shade, label, box) in enumerate(zip(shades, labels, boxes.tolist()), start=1)
    ]
    ids = np.zeros(instances.image_size, dtype=np.int32)
    if instances.has("pred_masks"):
        _paint_masks(ids, instances.pred_masks)
    caption = f"instances: {len(segments)}"
    if instances.has("found"):
        caption += f" ({int(instances.found.sum())} found by semantics, {dropped} dropped)"
    elif instances.has("scores"):
        caption += f" (score ≥ {confidence_threshold:g})"
    return Panel(caption, ids, segments, INSTANCE_OPACITY, False, {c.name: c.color for c in classes})


def _kept_instances(outputs: Mapping[str, Any]) -> Instances:
    """The instances; of a fusion that refines only the segments of its panoptic map, not the detections it dropped."""
    instances = outputs["instances"]
    if not instances.has("found") or "panoptic_seg" not in outputs:
        return instances
    return instances[[info["instance_id"] for info in outputs["panoptic_seg"][1] if info["isthing"]]]


def _visible(instances: Instances, confidence_threshold: float) -> Instances:
    if not instances.has("scores"):
        return instances
    shown = instances.scores >= confidence_threshold
    # No detector has scored those that semantics found.
    return instances[shown | instances.found if instances.has("found") else shown]


def _instance_labels(instances: Instances, names: list[str]) -> list[str]:
    if instances.has("is_crowd"):  # in the ground truth only
        return [_with_crowd(name, crowd) for name, crowd in zip(names, instances.is_crowd.tolist())]
    if not instances.has("scores"):
        return names
    found = instances.found.tolist() if instances.has("found") else [False] * len(names)
    scores = instances.scores.tolist()
    return [f"{name} found" if f else f"{name} {100 * s:.0f}%" for name, s, f in zip(names, scores, found)]


def _panoptic_panel(panoptic_seg: tuple[torch.Tensor, list[dict[str, Any]]], table: ClassTable) -> Panel:
    panoptic, segments_info = panoptic_seg
    ids = _array(panoptic).astype(np.int32)
    present = np.unique(ids).tolist()
    extent_of = dict(zip(present, measure_segments(ids, present).tolist()))
    infos = [info for info in segments_info if info["id"] in extent_of]
    classes = [table.find_class(info["category_id"], bool(info["isthing"])) for info in infos]
    things = [k for k, c in enumerate(classes) if c.is_thing]
    extents = (extent_of[infos[k]["id"]] for k in things)
    boxes = np.array([(left, top, right, bottom) for _, top, bottom, left, right in extents]).reshape(-1, 4)
    color_of = {k: c.color for k, c in enumerate(classes)}
    color_of.update(zip(things, assign_shades([classes[k].color for k in things], boxes)))
    segments = [
        Segment(info["id"], color_of[k], _with_crowd(c.name, info.get("iscrowd", 0)), c.is_thing)
        for k, (info, c) in enumerate(zip(infos, classes))
    ]
    ids = np.where(np.isin(ids, [segment.id for segment in segments]), ids, VOID)
    caption = f"panoptic: {_count(len(things), 'thing')}, {len(segments) - len(things)} stuff"
    return Panel(caption, ids, segments, PANOPTIC_OPACITY, True, {c.name: c.color for c in classes})


def _paint_masks(ids: np.ndarray, masks: BoxMasks | torch.Tensor) -> None:
    """Write 1 .. N into the map of ids, the largest mask first, so that it covers no smaller one."""
    if isinstance(masks, torch.Tensor):
        masks = BoxMasks.from_full(masks.bool())
    if masks.image_size != ids.shape:
        raise ValueError(f"instance masks of {masks.image_size} pixels in an image of {ids.shape}")
    windows = list(masks)
    for i in np.argsort(-masks.areas().cpu().numpy(), kind="stable").tolist():
        window, mask = windows[i]
        ids[window][_array(mask)] = i + 1


def _thing(table: ClassTable, thing_id: int) -> SegmentClass:
    if not 0 <= thing_id < table.num_things:
        raise ValueError(f"an instance has the class {thing_id}, but the class table has {table.num_things} things")
    return table.things[thing_id]


def _with_crowd(name: str, crowd: Any) -> str:
    return f"{name} (crowd)" if crowd else name


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def _array(values: Any) -> np.ndarray:
    return torch.as_tensor(values).detach().cpu().numpy()


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"expected an RGB image (H, W, 3) of uint8, got {image.dtype} {image.shape}")
