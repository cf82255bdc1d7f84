"""Postprocessing from the outputs of detector and semantic head to all final results, against Detectron2's.

The method is finish_image with compact output, timed with each fusion. The peer is the postprocessing of PanopticFPN:
logits resized by a factor of four, sem_seg_postprocess, detector_postprocess, combine_semantic_and_instance_outputs.
The semantic-guided fusion and the one by evidence also match, fill, and refine labels and masks; the peer does not.

The score-order fusion uses the label convention of the peer (0 = all things, 12 classes), so that both panoptic maps
are comparable. The others use the 19 classes of Cityscapes; the peer takes the first of them for all things.
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

from unified_seg.fusion import EvidenceFusion, PanopticFusion, ScoreOrderFusion, SemanticGuidedFusion
from unified_seg.meta_arch.outputs import finish_image
from unified_seg.meta_arch.predictions import ImagePrediction
from unified_seg.structures.logit_map import LogitMap
from unified_seg_cli import ToolParser

from .harness import Call, Comparison, check_size
from .logits import STRIDE, assert_equal_but_for_ties, logits_of
from .plain_fusion import OVERLAP_THRESHOLD, SCORE_THRESHOLD, assert_same_segments
from .streets import SEED, make_street, separated, separated_table, unified_table

FusionClass = type[ScoreOrderFusion] | type[SemanticGuidedFusion] | type[EvidenceFusion]

SIZE = (1024, 2048)
PEER = "Detectron2's postprocessing in PanopticFPN"


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--instances", "instances in the image", default=40)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return a comparison for each fusion; raises UserError for a size that is not a multiple of the stride."""
    check_size(args.size, STRIDE)
    before_fusion = ("masks and labels before the fusion, but for ties", assert_equal_before_fusion)
    return [
        _comparison(
            args, ScoreOrderFusion, "masks, labels but for ties, segments of the panoptic maps", assert_equal_results
        ),
        _comparison(args, SemanticGuidedFusion, *before_fusion),
        _comparison(args, EvidenceFusion, *before_fusion),
    ]


def _comparison(
    args: argparse.Namespace, fusion: FusionClass, equal: str, assert_equal: Callable[..., None]
) -> Comparison:
    separate = fusion is ScoreOrderFusion
    table = separated_table() if separate else unified_table()
    given = (args.size, args.instances, args.device)
    return Comparison(
        name=f"postprocessing, {fusion.__name__}",
        against=PEER,
        inputs=f"a synthetic street (seed {SEED}), {args.size[0]}x{args.size[1]}: logits of {table.num_semantic} "
        f"classes at stride {STRIDE}, {args.instances} instances with soft 28x28 masks",
        method=partial(prepare_method, *given, fusion),
        peer=partial(prepare_peer, *given, separate),
        equal=equal,
        assert_equal=assert_equal,
    )


def prepare_method(size: tuple[int, int], instances: int, device: str, fusion: FusionClass) -> Call:
    """Prepare postprocessing with a fusion."""
    separate = fusion is ScoreOrderFusion
    built: PanopticFusion
    if separate:
        built = ScoreOrderFusion(class_table=separated_table(), stuff_area_limit=_stuff_area_limit(size))
    else:
        built = fusion(class_table=unified_table())
    logits, found = _head_outputs(size, instances, device, separate)
    return partial(
        finish_image,
        ImagePrediction(LogitMap.from_logits(logits, STRIDE, size), found),
        output_size=size,
        fusion=built,
        output_format="compact",
    )


def prepare_peer(size: tuple[int, int], instances: int, device: str, separate: bool) -> Call:
    return partial(_postprocess, *_head_outputs(size, instances, device, separate), size)


def _postprocess(logits: Tensor, instances: Instances, size: tuple[int, int]) -> dict[str, Any]:
    """Do the postprocessing of PanopticFPN and its SemSegFPNHead for one image."""
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
    """Return Detectron2's limit of 4096 pixels at 1024x2048, scaled to the size of the image."""
    return size[0] * size[1] // 512


def assert_equal_results(method: dict[str, Any], peer: dict[str, Any]) -> None:
    ties = _assert_equal_parts(method, peer)
    peer_ids, peer_infos = peer["panoptic_seg"]
    classes = {info["id"]: (info["isthing"], info["category_id"]) for info in peer_infos}
    # Where two labels tie, either stuff segment is right.
    ids, infos = method["panoptic_seg"]
    assert_same_segments(ids, infos, peer_ids.cpu().numpy(), classes, leave_out=ties.cpu().numpy())


def assert_equal_before_fusion(method: dict[str, Any], peer: dict[str, Any]) -> None:
    _assert_equal_parts(method["unfused"], peer)


def _assert_equal_parts(method: dict[str, Any], peer: dict[str, Any]) -> Tensor:
    """Assert equal masks and labels; return the (H, W) bool map of labels that differ because of ties."""
    sem_seg = peer["sem_seg"]
    ties = assert_equal_but_for_ties(method["sem_seg_labels"], sem_seg.argmax(0), sem_seg)
    masks = method["instances"].pred_masks.full()
    peer_masks = peer["instances"].pred_masks
    assert masks.shape == peer_masks.shape, f"masks of {tuple(masks.shape)} and {tuple(peer_masks.shape)}"
    different = int((masks != peer_masks).sum())
    assert not different, f"{different} pixels of masks differ"
    return ties
