"""What a GPU would launch and wait for, counted on a pretended device: operators and synchronizations.

An operator of a GPU costs some microseconds of the CPU, a synchronization waits until the GPU has finished its work:
reading a number (`item`, `tolist`), sizes that depend on data (`nonzero`, boolean masks, `unique`), and copies between
CPU and GPU that are not asynchronous. The pretended device holds CPU data, so the counts need no GPU, and the results
are asserted to be those of the CPU. --device, --repeats and --threads have no effect.

The fusion and the postprocessing have 40 instances at 1024x2048 by default. A training step is forward and backward
pass, without the optimizer. The peers are Detectron2's parts for the same task.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch import nn

from unified_seg.data.io.text_files import write_json
from unified_seg.evaluation.model_outputs import read_instances, read_labels, read_panoptic
from unified_seg.fusion import SemanticGuidedFusion
from unified_seg.fusion.score_order import merge_by_score
from unified_seg.fusion.semantic_guided import SemanticGuidedResult, fuse_semantic_guided
from unified_seg.reporting.readme import replace_table
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.panoptic_map import PanopticMap
from unified_seg_cli import ToolParser

from . import post
from .fusion import prepare_detectron2
from .inputs import toyscapes_batch
from .models import CONFIG, SEED, build_peer, build_unified, read_config
from .pretend_device import DEVICE, Counts, PretendDevice, move_module
from .publish import format_command
from .streets import make_street, unified_table

SIZE = (1024, 2048)
MODEL_SIZE = (128, 256)
Call = Callable[[], Any]


@dataclass(frozen=True)
class Part:
    """A task, and the calls that do it; each call is prepared on a device.

    Attributes:
        name: the task.
        method, peer: prepare the call on a device; the peer is Detectron2's.
        assert_equal: compares the results of the method on the device and on the CPU.
    """

    name: str
    method: Callable[[str], Call]
    peer: Callable[[str], Call] | None = None
    assert_equal: Callable[[Any, Any], None] | None = None


@dataclass(frozen=True)
class Count:
    """The counts of a part; see `pretend_device.Counts`. `waits` are those of this library's own code."""

    name: str
    operators: int
    views: int
    own_synchronizations: int
    other_synchronizations: int
    peer_operators: int | None
    peer_synchronizations: int | None
    own_waits: dict[str, int]


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--instances", "instances in the image", default=40)


def report(args: argparse.Namespace, machine: str) -> None:
    """Count all parts; print them, and write them as --json and --into say."""
    counts = [count_part(part) for part in list_parts(args.size, args.instances)]
    text = _as_table(counts)
    print(text)
    if args.json is not None:
        software = machine.partition(", on ")[0]
        write_json(args.json, [{**asdict(each), "machine": software} for each in counts])
        print(f"written to {args.json}")
    if args.into is not None:
        notes = [
            f"{args.instances} instances at {args.size[0]}x{args.size[1]}; models: {CONFIG.name} on two Toyscapes "
            f"scenes of {MODEL_SIZE[0]}x{MODEL_SIZE[1]}, random weights; results equal to the CPU's.",
            f"`{format_command(args.words)}`; {machine.partition(', on ')[0]}.",
        ]
        replace_table(args.into, "benchmark-launches", "\n".join([text, "", *(f"- {note}" for note in notes)]))


def list_parts(size: tuple[int, int], instances: int) -> Iterator[Part]:
    for winding in (False, True):
        yield Part(
            name="fusion with a winding region" if winding else "fusion",
            method=partial(prepare_fusion, size, instances, winding),
            peer=partial(prepare_detectron2, size, instances),
            assert_equal=assert_same_fusion,
        )
    yield Part(
        name="fusion by score order",
        method=partial(prepare_score_order, size, instances),
        peer=partial(prepare_detectron2, size, instances),
        assert_equal=assert_same_panoptic,
    )
    yield Part("masks pasted into their boxes", partial(prepare_masks, size, instances), None, assert_same_masks)
    yield Part(
        name="postprocessing, SemanticGuidedFusion",
        method=lambda device: post.prepare_method(size, instances, device, SemanticGuidedFusion),
        peer=lambda device: post.prepare_peer(size, instances, device, separate=False),
    )
    yield Part("outputs read by the evaluators", partial(prepare_reading, size, instances))
    yield Part(
        "training step", partial(prepare_training, peer=False), partial(prepare_training, peer=True), assert_close
    )
    yield Part("inference", partial(prepare_inference, peer=False), partial(prepare_inference, peer=True))


def count_part(part: Part) -> Count:
    """Count one call of the method and of the peer.

    Raises:
        AssertionError: the result on the device is not that of the CPU.
    """
    result, counts = run_counted(part.method)
    if part.assert_equal is not None:
        with PretendDevice():
            part.assert_equal(result, part.method("cpu")())
    peer = run_counted(part.peer)[1] if part.peer is not None else None
    own: dict[str, int] = {}
    for (operator, whose), number in counts.waits.items():
        if whose == "unified_seg":
            own[operator] = own.get(operator, 0) + number
    return Count(
        name=part.name,
        operators=counts.operators,
        views=counts.views,
        own_synchronizations=counts.synchronizations(own=True),
        other_synchronizations=counts.synchronizations(own=False),
        peer_operators=None if peer is None else peer.operators,
        peer_synchronizations=None if peer is None else peer.synchronizations(),
        own_waits=own,
    )


def run_counted(prepare: Callable[[str], Call]) -> tuple[Any, Counts]:
    """Prepare a call on the pretended device, and return its result and what it ran."""
    with PretendDevice():
        call = prepare(str(DEVICE))
    with PretendDevice() as device:
        return call(), device.counts


def prepare_fusion(size: tuple[int, int], instances: int, winding: bool, device: str) -> Call:
    return partial(_without_gradients, fuse_semantic_guided, *_make_inputs(size, instances, winding, device))


def prepare_score_order(size: tuple[int, int], instances: int, device: str) -> Call:
    return partial(_without_gradients, merge_by_score, *_make_inputs(size, instances, False, device))


def _make_inputs(size: tuple[int, int], instances: int, winding: bool, device: str) -> tuple[Any, ...]:
    """Return what a fusion takes."""
    street = make_street(size, instances, winding)
    masks = BoxMasks.from_soft(street.soft_masks.to(device), street.boxes.to(device), size)
    inputs = (street.labels.to(device), masks, street.thing_ids.to(device), street.scores.to(device))
    return *inputs, unified_table()


def prepare_masks(size: tuple[int, int], instances: int, device: str) -> Call:
    street = make_street(size, instances, winding=False)
    inputs = (street.soft_masks.to(device), street.boxes.to(device))
    return partial(_without_gradients, BoxMasks.from_soft, *inputs, size)


def prepare_reading(size: tuple[int, int], instances: int, device: str) -> Call:
    """Prepare what the evaluators of semantic maps, instances and panoptic maps read of one image."""
    outputs = post.prepare_method(size, instances, device, SemanticGuidedFusion)()
    record = {"image_id": "street", "height": size[0], "width": size[1]}

    def read() -> None:
        read_labels(record, outputs)
        read_instances(record, outputs, with_masks=True)
        read_panoptic(record, outputs)

    return read


def prepare_training(device: str, peer: bool) -> Call:
    model, batch = _prepare_model(device, peer)
    model.train()

    def step() -> dict[str, torch.Tensor]:
        torch.manual_seed(SEED)
        with EventStorage():
            losses = model(batch)
        sum(losses.values()).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    return step


def prepare_inference(device: str, peer: bool) -> Call:
    model, batch = _prepare_model(device, peer)
    return partial(_without_gradients, model.eval(), batch)


def _prepare_model(device: str, peer: bool) -> tuple[nn.Module, list[dict[str, Any]]]:
    overrides = (
        *("MODEL.PANOPTIC_FUSION.NAME", "SemanticGuidedFusion", "MODEL.UNIFIED.OUTPUT", "compact"),
        *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", "0.05"),
    )
    cfg = read_config(CONFIG, "cpu", overrides)
    model = build_peer(cfg) if peer else build_unified(cfg)
    batch = toyscapes_batch(MODEL_SIZE, 2, SEED, cfg.INPUT.FORMAT)
    return (model if device == "cpu" else move_module(model)), batch


def _without_gradients(call: Callable[..., Any], *args: Any) -> Any:
    with torch.no_grad():
        return call(*args)


def assert_same_fusion(result: SemanticGuidedResult, expected: SemanticGuidedResult) -> None:
    assert_same_panoptic(result.panoptic, expected.panoptic)
    assert torch.equal(result.labels.cpu(), expected.labels), "refined labels"
    assert_same_masks(result.masks, expected.masks)


def assert_same_panoptic(result: PanopticMap, expected: PanopticMap) -> None:
    assert torch.equal(result.ids.cpu(), expected.ids), "panoptic map"
    assert result.segments_info == expected.segments_info, "segments"


def assert_same_masks(masks: BoxMasks, expected: BoxMasks) -> None:
    for mask, other in zip(masks.to("cpu").masks, expected.masks, strict=True):
        assert torch.equal(mask, other), "masks"


def assert_close(losses: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, loss in losses.items():
        assert torch.isclose(loss.cpu(), expected[name], rtol=1e-4, atol=1e-6), (
            f"{name}: {loss} is not {expected[name]}"
        )


def _as_table(counts: list[Count]) -> str:
    columns = {
        "what": [each.name for each in counts],
        "operators": [each.operators for each in counts],
        "of them views": [each.views for each in counts],
        "synchronizations, own": [each.own_synchronizations for each in counts],
        "of Detectron2 and PyTorch": [each.other_synchronizations for each in counts],
        "Detectron2: operators": [_or_dash(each.peer_operators) for each in counts],
        "synchronizations": [_or_dash(each.peer_synchronizations) for each in counts],
    }
    return tabulate(columns, headers="keys", tablefmt="github", disable_numparse=True)


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)
