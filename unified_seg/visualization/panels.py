"""Scenes, and their panels: the semantic map, the instances and the panoptic map of an output as segments to paint.

N = instances, K = semantic classes, (H, W) = the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances

from unified_seg.ops.id_maps import measure_segments
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg.visualization.canvas import VOID, PaintedSegment, draw_segments
from unified_seg.visualization.colors import Color, assign_shades
from unified_seg.visualization.sheet import Picture

KINDS = ("semantic", "instances", "panoptic")

SEMANTIC_OPACITY = 0.8
INSTANCE_OPACITY = 0.7
PANOPTIC_OPACITY = 0.8


@dataclass(frozen=True)
class Scene:
    """An image with a model's outputs and, if it is known, the ground truth.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        outputs: of the model for this image.
        table: the classes.
        ground_truth: (H, W) semantic ids or the ignore label; None if unknown.
    """

    image: np.ndarray
    outputs: Mapping[str, Any]
    table: ClassTable
    ground_truth: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Panel:
    """A map of segments to paint, with its caption.

    Attributes:
        caption: its title.
        ids: (H, W) int32, 0 = no segment.
        segments: the segments of the ids.
        opacity: of the segments, in [0, 1].
        hatch_void: whether pixels without a segment are void, and hatched.
        colors: the colors of the classes for the legend, by class name.
    """

    caption: str
    ids: np.ndarray
    segments: list[PaintedSegment]
    opacity: float
    hatch_void: bool
    colors: dict[str, Color] = field(default_factory=dict)

    def prefix(self, text: str) -> "Panel":
        """Return the panel with a text before its caption."""
        return replace(self, caption=f"{text} · {self.caption}")

    def draw(self, image: np.ndarray) -> Picture:
        """Paint the segments over an image (H, W, 3) uint8 RGB."""
        pixels = draw_segments(image, self.ids, self.segments, opacity=self.opacity, hatch_void=self.hatch_void)
        return Picture(pixels, self.caption)


def make_panels(outputs: Mapping[str, Any], table: ClassTable, confidence_threshold: float = 0.5) -> dict[str, Panel]:
    """Create the panels of an output, by KINDS, without those of its `unfused`.

    Args:
        outputs: of a model for one image, in either form of MODEL.UNIFIED.OUTPUT.
        table: the classes.
        confidence_threshold: instances with a lower score are left out.

    Raises:
        ValueError: an output has another size than the others, or a class id that is not in the table.
    """
    panels = {}
    if "sem_seg_labels" in outputs or "sem_seg" in outputs:
        panels["semantic"] = make_semantic_panel(outputs, table)
    if "instances" in outputs:
        detected = _select_visible(outputs["instances"], confidence_threshold)
        kept = _select_visible(_select_kept(outputs), confidence_threshold)
        dropped = len(detected) - len(kept)
        panels["instances"] = _make_instance_panel(kept, table, confidence_threshold, dropped)
    if "panoptic_seg" in outputs:
        panels["panoptic"] = _make_panoptic_panel(outputs["panoptic_seg"], table)
    return panels


def make_semantic_panel(outputs: Mapping[str, Any], table: ClassTable) -> Panel:
    """Create the panel of the semantic map of an output; see `make_panels`."""
    if "sem_seg_labels" in outputs:
        labels = _to_numpy(outputs["sem_seg_labels"])
    else:
        labels = _to_numpy(torch.as_tensor(outputs["sem_seg"]).argmax(dim=0))
    present = [i for i in np.unique(labels).tolist() if i != table.ignore_label]
    outside = [i for i in present if not 0 <= i < table.num_semantic]
    if outside:
        raise ValueError(
            f"semantic map: ids {outside} are not in the class table, which has 0 .. {table.num_semantic - 1}"
        )
    names, colors = table.semantic_names, table.semantic_colors
    segments = [PaintedSegment(i + 1, colors[i], names[i], is_thing=False) for i in present]
    ids = np.where(labels == table.ignore_label, VOID, labels.astype(np.int32) + 1)
    shown = {names[i]: colors[i] for i in present}
    caption = f"semantic: {_format_count(len(present), 'class', 'classes')}"
    return Panel(caption, ids, segments, SEMANTIC_OPACITY, True, shown)


def _make_instance_panel(instances: Instances, table: ClassTable, confidence_threshold: float, dropped: int) -> Panel:
    classes = [_get_thing(table, i) for i in instances.pred_classes.tolist()]
    boxes = instances.pred_boxes.tensor.detach().cpu().numpy()
    shades = assign_shades([c.color for c in classes], boxes)
    labels = _make_instance_labels(instances, [c.name for c in classes])
    segments = [
        PaintedSegment(i, shade, label, is_thing=True, box=tuple(box))
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


def _select_kept(outputs: Mapping[str, Any]) -> Instances:
    """Return the instances, without detections that a refining fusion dropped."""
    instances = outputs["instances"]
    if not instances.has("found") or "panoptic_seg" not in outputs:
        return instances
    return instances[[info["instance_id"] for info in outputs["panoptic_seg"][1] if info["isthing"]]]


def _select_visible(instances: Instances, confidence_threshold: float) -> Instances:
    """Return the instances with at least this score, and those found by semantics, which have no score."""
    if not instances.has("scores"):
        return instances
    shown = instances.scores >= confidence_threshold
    return instances[shown | instances.found if instances.has("found") else shown]


def _make_instance_labels(instances: Instances, names: list[str]) -> list[str]:
    if instances.has("is_crowd"):  # in the ground truth only
        return [_mark_crowd(name, crowd) for name, crowd in zip(names, instances.is_crowd.tolist())]
    if not instances.has("scores"):
        return names
    found = instances.found.tolist() if instances.has("found") else [False] * len(names)
    scores = instances.scores.tolist()
    return [f"{name} found" if f else f"{name} {100 * s:.0f}%" for name, s, f in zip(names, scores, found)]


def _make_panoptic_panel(panoptic_seg: tuple[torch.Tensor, list[dict[str, Any]]], table: ClassTable) -> Panel:
    panoptic, segments_info = panoptic_seg
    ids = _to_numpy(panoptic).astype(np.int32)
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
        PaintedSegment(info["id"], color_of[k], _mark_crowd(c.name, info.get("iscrowd", 0)), c.is_thing)
        for k, (info, c) in enumerate(zip(infos, classes))
    ]
    ids = np.where(np.isin(ids, [segment.id for segment in segments]), ids, VOID)
    caption = f"panoptic: {_format_count(len(things), 'thing')}, {len(segments) - len(things)} stuff"
    return Panel(caption, ids, segments, PANOPTIC_OPACITY, True, {c.name: c.color for c in classes})


def _paint_masks(ids: np.ndarray, masks: BoxMasks | torch.Tensor) -> None:
    """Write the ids 1 .. N of masks into a map, the largest mask first, so that smaller ones are visible."""
    if isinstance(masks, torch.Tensor):
        masks = BoxMasks.from_full(masks.bool())
    if masks.image_size != ids.shape:
        raise ValueError(f"instance masks: expected {ids.shape} (H, W), got {masks.image_size}")
    windows = list(masks.crops())
    for i in np.argsort(-masks.areas().cpu().numpy(), kind="stable").tolist():
        window, mask = windows[i]
        ids[window][_to_numpy(mask)] = i + 1


def _get_thing(table: ClassTable, thing_id: int) -> SegmentClass:
    if not 0 <= thing_id < table.num_things:
        raise ValueError(f"instances: class {thing_id} is not in the class table, which has {table.num_things} things")
    return table.things[thing_id]


def _mark_crowd(name: str, crowd: Any) -> str:
    return f"{name} (crowd)" if crowd else name


def _format_count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def _to_numpy(values: Any) -> np.ndarray:
    return torch.as_tensor(values).detach().cpu().numpy()
