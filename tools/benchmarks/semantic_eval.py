"""Semantic evaluation of one image, from a model's output and a PNG of the ground truth to the confusion matrix.

The method is SemanticEvaluator.process on the labels of compact output. The peer is Detectron2's
SemSegEvaluator.process on logits of full size, which it converts to labels; it also stores the prediction as RLE.
hotcoco reads the PNG of the ground truth and one of the prediction; it is timed with the writing of this PNG, which the
method does not need, and without. A further comparison times the confusion matrix of two maps in memory.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import hotcoco
import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator
from PIL import Image
from torch.nn import functional as F

from unified_seg.data.datasets.cityscapes import build_cityscapes_table
from unified_seg.data.io.label_files import read_label
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.ops.metrics.confusion import confusion_matrix
from unified_seg_cli import ToolParser

from .harness import Call, Comparison, set_hotcoco_threads
from .logits import logits_of
from .streets import SEED, make_street, unified_table

SIZE = (1024, 2048)
OBJECTS = 40


def add_arguments(parser: ToolParser) -> None:
    pass


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparison."""
    given = (args.size, args.device)
    inputs = f"a synthetic street (seed {SEED}), {args.size[0]}x{args.size[1]}, 19 classes"
    return [
        Comparison(
            name="semantic evaluation of an image",
            against="Detectron2's SemSegEvaluator",
            inputs=inputs,
            method=partial(prepare_method, *given),
            peer=partial(prepare_peer, *given),
            equal="the confusion matrix",
            assert_equal=assert_equal_confusion,
        ),
        *(
            Comparison(
                name="semantic evaluation of an image",
                against=f"hotcoco's SemanticEval, {how}",
                inputs=inputs,
                method=partial(prepare_method, *given),
                peer=partial(prepare_hotcoco, args.size, args.threads, writes),
                equal="the confusion matrix",
                assert_equal=assert_equal_confusion,
            )
            for how, writes in (("with writing its PNG", True), ("on a prediction that is a PNG", False))
        ),
        Comparison(
            name="confusion matrix of two label maps",
            against="hotcoco's pixel_confusion",
            inputs=inputs,
            method=partial(prepare_confusion, args.size, args.threads, peer=False),
            peer=partial(prepare_confusion, args.size, args.threads, peer=True),
            equal="the confusion matrix",
            assert_equal=np.testing.assert_array_equal,
        ),
    ]


class Evaluation:
    """An evaluation of one image anew at each call; its folder of ground truth and results is removed with it."""

    def __init__(self, size: tuple[int, int], device: str, peer: bool):
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        ground_truth = make_street(size, OBJECTS, winding=False).labels
        sem_seg = F.interpolate(
            logits_of(ground_truth, unified_table().num_semantic)[None], size=size, mode="bilinear"
        )[0]
        record = _write_ground_truth(root, ground_truth.numpy())
        self.evaluator = (
            _peer_evaluator(root.name, record) if peer else SemanticEvaluator(unified_table(), [record], root)
        )
        self.inputs = [record]
        output = sem_seg if peer else sem_seg.argmax(0).byte()
        self.outputs = [{"sem_seg" if peer else "sem_seg_labels": output.to(device)}]

    def __call__(self) -> "Evaluation":
        self.evaluator.reset()
        self.evaluator.process(self.inputs, self.outputs)
        return self

    def confusion(self) -> np.ndarray:
        """Return the (K, K) int64 confusion matrix, rows ground truth, columns prediction."""
        if isinstance(self.evaluator, SemSegEvaluator):
            # Its rows are predictions; its last row and column count ignored pixels.
            return self.evaluator._conf_matrix[:-1, :-1].T
        self.evaluator.evaluate()
        with np.load(Path(self.folder.name) / "sem_seg.npz") as written:
            return written["confusion"]


class HotcocoEvaluation(Evaluation):
    """hotcoco's evaluation of two PNGs, of which each call writes that of the prediction if `writes`."""

    def __init__(self, size: tuple[int, int], writes: bool):
        super().__init__(size, "cpu", peer=False)
        self.writes = writes
        self.files = [Path(self.folder.name) / f"{name}.png" for name in ("ground_truth", "prediction")]
        self.write()

    def write(self) -> None:
        Image.fromarray(self.outputs[0]["sem_seg_labels"].numpy()).save(self.files[1], compress_level=1)

    def __call__(self) -> "HotcocoEvaluation":
        if self.writes:
            self.write()
        table = unified_table()
        self.counts = hotcoco.semantic.SemanticEval(table.num_semantic, ignore_index=table.ignore_label)
        self.counts.update_png(*self.files)
        return self

    def confusion(self) -> np.ndarray:
        return self.counts.confusion().astype(np.int64)


def prepare_hotcoco(size: tuple[int, int], threads: int, writes: bool) -> Call:
    set_hotcoco_threads(threads)
    return HotcocoEvaluation(size, writes)


def prepare_confusion(size: tuple[int, int], threads: int, peer: bool) -> Call:
    set_hotcoco_threads(threads)
    evaluation = Evaluation(size, "cpu", peer=False)
    maps = read_label(str(evaluation.inputs[0]["sem_seg_file_name"])), evaluation.outputs[0]["sem_seg_labels"].numpy()
    classes, ignored = unified_table().num_semantic, unified_table().ignore_label
    if peer:
        return partial(hotcoco.metrics.pixel_confusion, *maps, classes, ignore_index=ignored)
    return partial(confusion_matrix, *maps, classes, ignored)


def prepare_method(size: tuple[int, int], device: str) -> Call:
    return Evaluation(size, device, peer=False)


def prepare_peer(size: tuple[int, int], device: str) -> Call:
    return Evaluation(size, device, peer=True)


def _write_ground_truth(root: Path, labels: np.ndarray) -> dict[str, object]:
    """Write a PNG with an ignored border, like the ego vehicle in Cityscapes; return its record."""
    ground_truth = labels.copy()
    ground_truth[-max(1, len(ground_truth) // 20) :] = unified_table().ignore_label
    path = root / "ground_truth.png"
    Image.fromarray(ground_truth).save(path)
    return {
        "file_name": str(root / "street.png"),
        "image_id": "street",
        "sem_seg_file_name": str(path),
        "height": ground_truth.shape[0],
        "width": ground_truth.shape[1],
    }


def _peer_evaluator(name: str, record: dict[str, object]) -> SemSegEvaluator:
    """Make Detectron2's evaluator, which reads the names of the ground truth files from its catalog once."""
    DatasetCatalog.register(name, lambda: [record])
    MetadataCatalog.get(name).set(**build_cityscapes_table().to_metadata())
    try:
        return SemSegEvaluator(name, distributed=False)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def assert_equal_confusion(method: Evaluation, peer: Evaluation) -> None:
    different = np.argwhere(method.confusion() != peer.confusion()).tolist()
    assert not different, f"counts of (ground truth, prediction) {different} differ"
