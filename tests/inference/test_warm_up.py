"""What is compiled at set-up."""

from detectron2.data import DatasetCatalog

from unified_seg.inference.warm_up import DATASET, warm_up
from unified_seg.ops.metrics import confusion
from unified_seg_arrays.compiled import CompiledFunction
from unified_seg_arrays.fusion import semantic_guided


def test_fusion_and_scores_are_compiled(tmp_path):
    warm_up(tmp_path)
    for module in (semantic_guided, confusion):
        functions = [value for value in vars(module).values() if isinstance(value, CompiledFunction)]
        assert all(function.compile().signatures for function in functions)  # type: ignore[attr-defined]
    assert DATASET not in DatasetCatalog.list()
