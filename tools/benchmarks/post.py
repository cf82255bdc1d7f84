"""Postprocessing: from the outputs of detector and semantic head to all final results, against Detectron2's.

Ours is finish_image with compact output; the peer is what PanopticFPN does after its heads: logits four times larger,
sem_seg_postprocess, detector_postprocess, combine_semantic_and_instance_outputs. Ours is timed with each fusion; the
semantic-guided one also matches, fills, and refines labels and masks, which the peer does not.

The score-order fusion runs in the peer's convention of labels (0 = all things, 12 classes), so that the panoptic maps
of both mean the same; the semantic-guided one with Cityscapes' 19, of which the peer takes the first for things.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs
from detectron2.modeling.postprocessing import detector_postprocess, sem_seg_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torch.nn import functional as F

from unified_seg.fusion import PanopticFusion, ScoreOrderFusion, SemanticGuidedFusion
from unified_seg.meta_arch.outputs import finish_image
from unified_seg.meta_arch.predictions import ImagePrediction
from unified_seg.structures.logit_map import LogitMap

from .arguments import positive
from .harness import Call, Comparison
from .logits import STRIDE, assert_equal_but_for_ties, logits_of
from .plain_fusion import OVERLAP_THRESHOLD, SCORE_THRESHOLD, assert_same_segments
from .streets import SEED, make_street, separated, separated_table, unified_table

SIZE = (1024, 2048)
PEER = "Detectron2's postprocessing in PanopticFPN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instances", type=positive, default=40, metavar="N", help="default 40")


def comparisons(args: argparse.Namespace) -> list[Comparison]:
    """With each fusion. Raises ValueError for a size that is no multiple of the stride."""
    if args.size[0] % STRIDE or args.size[1] % STRIDE:
        raise ValueError(f"--size: the peer makes images of multiples of {STRIDE} pixels, not {args.size}")
    return [
        _comparison(args, True, "masks, labels but for ties, segments of the panoptic maps", assert_equal_results),
        _comparison(args, False, "masks and labels before the fusion, but for ties", assert_equal_before_fusion),
    ]


def _comparison(args: argparse.Namespace, separate: bool, equal: str, assert_equal: Callable[..., None]) -> Comparison:
    table = separated_table() if separate else unified_table()
    given = (args.size, args.instances, args.device, separate)
    return Comparison(
        name=f"postprocessing, {'ScoreOrderFusion' if separate else 'SemanticGuidedFusion'}",
        against=PEER,
        inputs=f"a made street (seed {SEED}), {args.size[0]}x{args.size[1]}: logits of {table.num_semantic} classes at "
        f"stride {STRIDE}, {args.instances} instances with soft 28x28 masks",
        ours=partial(prepare_ours, *given),
        peer=partial(prepare_peer, *given),
        equal=equal,
        assert_equal=partial(assert_equal, *given),
    )


def prepare_ours(size: tuple[int, int], instances: int, device: str, separate: bool) -> Call:
    """With the score-order fusion in the separated convention, else with the semantic-guided one."""
    fusion: PanopticFusion
    if separate:
        fusion = ScoreOrderFusion(class_table=separated_table(), stuff_area_limit=_stuff_area_limit(size))
    else:
        fusion = SemanticGuidedFusion(class_table=unified_table())
    logits, found = _head_outputs(size, instances, device, separate)
    return partial(
        finish_image,
        ImagePrediction(LogitMap.from_logits(logits, STRIDE, size), found),
        output_size=size,
        fusion=fusion,
        output_format="compact",
    )


def prepare_peer(size: tuple[int, int], instances: int, device: str, separate: bool) -> Call:
    return partial(_postprocess, *_head_outputs(size, instances, device, separate), size)


def _postprocess(logits: Tensor, instances: Instances, size: tuple[int, int]) -> dict[str, Any]:
    """As PanopticFPN's inference and its SemSegFPNHead, for one image."""
    upsampled = F.interpolate(logits[None], scale_factor=STRIDE, mode="bilinear", align_corners=False)[0]
    sem_seg = sem_seg_postprocess(upsampled, size, *size)
    found = detector_postprocess(instances, *size)
    panoptic = combine_semantic_and_instance_outputs(
        found, sem_seg.argmax(dim=0), OVERLAP_THRESHOLD, _stuff_area_limit(size), SCORE_THRESHOLD
    )
    return {"sem_seg": sem_seg, "instances": found, "panoptic_seg": panoptic}


def _head_outputs(size: tuple[int, int], instances: int, device: str, separate: bool) -> tuple[Tensor, Instances]:
    street = make_street(size, instances, winding=False)
    labels = separated(street.labels) if separate else street.labels
    logits = logits_of(labels, (separated_table() if separate else unified_table()).num_semantic)
    found = Instances(
        size,
        pred_boxes=Boxes(street.boxes),
        pred_masks=street.soft_masks[:, None],
        scores=street.scores,
        pred_classes=street.thing_ids,
    )
    return logits.to(device), found.to(device)


def _stuff_area_limit(size: tuple[int, int]) -> int:
    """Detectron2's 4096 pixels at 1024x2048, as the same share of the image."""
    return size[0] * size[1] // 512


def assert_equal_results(
    size: tuple[int, int], instances: int, device: str, separate: bool, ours: dict[str, Any], peer: dict[str, Any]
) -> None:
    ties = _assert_equal_parts(ours, peer)
    peer_ids, peer_infos = peer["panoptic_seg"]
    classes = {info["id"]: (info["isthing"], info["category_id"]) for info in peer_infos}
    # A tie of two labels is one of two stuff segments.
    ids, infos = ours["panoptic_seg"]
    assert_same_segments(ids, infos, peer_ids.cpu().numpy(), classes, leave_out=ties.cpu().numpy())


def assert_equal_before_fusion(
    size: tuple[int, int], instances: int, device: str, separate: bool, ours: dict[str, Any], peer: dict[str, Any]
) -> None:
    _assert_equal_parts(ours["unfused"], peer)


def _assert_equal_parts(ours: dict[str, Any], peer: dict[str, Any]) -> Tensor:
    """Labels but for ties, and masks; returns (H, W) bool, where the labels tie and differ."""
    sem_seg = peer["sem_seg"]
    ties = assert_equal_but_for_ties(ours["sem_seg_labels"], sem_seg.argmax(0), sem_seg)
    masks = ours["instances"].pred_masks.full()
    peer_masks = peer["instances"].pred_masks
    assert masks.shape == peer_masks.shape, f"masks of {tuple(masks.shape)} and {tuple(peer_masks.shape)}"
    different = int((masks != peer_masks).sum())
    assert not different, f"{different} pixels of masks differ"
    return ties
