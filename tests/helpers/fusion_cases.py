"""What the tests of the fusions share: drawn options and maps, and comparisons of results."""

import numpy as np
import torch
from hypothesis import strategies as st

from unified_seg.fusion.semantic_guided import SemanticGuidedOptions, SemanticGuidedResult
from unified_seg.structures.class_table import ClassTable


def draw_options(draw: st.DrawFn, overlap_thresholds: list[float]) -> SemanticGuidedOptions:
    """Draw thresholds, of which those of areas leave out nothing, little or all."""
    return SemanticGuidedOptions(
        score_threshold=draw(st.sampled_from([0.0, 0.5])),
        overlap_threshold=draw(st.sampled_from(overlap_thresholds)),
        min_stuff_area=draw(st.sampled_from([0.0, 0.1])),
        min_segment_area=draw(st.sampled_from([0.0, 0.01, 1.0])),
        connectivity=draw(st.sampled_from([4, 8])),
    )


def draw_blocks(draw: st.DrawFn, rng: np.random.Generator, table: ClassTable, largest: int) -> np.ndarray:
    """Draw a map of up to `largest` rows and columns: blocks of one label."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    block = draw(st.sampled_from([1, 3, 8]))
    coarse = rng.integers(0, table.num_semantic, (height // block + 1, width // block + 1))
    return np.kron(coarse, np.ones((block, block), dtype=np.int64))[:height, :width]


def assert_same(actual: SemanticGuidedResult, expected: SemanticGuidedResult) -> None:
    for name in ("labels", "thing_ids", "scores", "kept", "found"):
        assert torch.equal(getattr(actual, name).cpu(), getattr(expected, name)), name
    assert torch.equal(actual.panoptic.ids.cpu(), expected.panoptic.ids)
    assert actual.panoptic.segments_info == expected.panoptic.segments_info
    assert torch.equal(actual.masks.full().cpu(), expected.masks.full())


def assert_as_reference(
    result: SemanticGuidedResult, ids: np.ndarray, refined: np.ndarray, segments: list[dict[str, object]]
) -> None:
    """Compare a result with what a plain reference returns."""
    assert torch.equal(result.panoptic.ids, torch.from_numpy(ids).int())
    assert torch.equal(result.labels, torch.from_numpy(refined))
    without = ("id", "score")
    assert [{k: v for k, v in s.items() if k not in without} for s in result.panoptic.segments_info] == segments
