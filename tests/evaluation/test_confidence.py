import numpy as np
import torch

from unified_seg.evaluation import confidence
from unified_seg.evaluation.confidence import count_confidences
from unified_seg.structures.logit_map import LogitMap

IGNORE = 255


def to_list(counts: np.ndarray) -> dict[tuple[int, int], int]:
    return {(int(level), int(right)): int(counts[level, right]) for level, right in np.argwhere(counts)}


def test_levels_of_wrong_and_right_pixels_by_hand() -> None:
    # Two classes; the probability of the larger logit is 0.75, of level 192, or nearly 1, of level 255.
    small, large = np.log(3), 20.0
    logits = torch.tensor([[[small, 0, large, 0]], [[0, small, 0, large]]], dtype=torch.float32)
    ground_truth = np.array([[0, 0, 0, IGNORE]])
    counts = count_confidences({"sem_seg": logits}, ground_truth, IGNORE)
    assert counts is not None and to_list(counts) == {(192, 1): 1, (192, 0): 1, (255, 1): 1}


def test_cells_are_compared_with_the_pixels_in_their_middle() -> None:
    # Cells of 4 x 4 pixels, and an image twice as large as the network's input: the middles are at 4, 12, ...
    labels = torch.arange(6).view(2, 3) % 4
    logits = 20.0 * torch.nn.functional.one_hot(labels, 4).permute(2, 0, 1)
    ground_truth = np.full((16, 24), IGNORE)
    ground_truth[4::8, 4::8] = labels
    output = {"semantic_logits": LogitMap.from_logits(logits, 4, (8, 12)), "sem_seg_labels": None}
    counts = count_confidences(output, ground_truth, IGNORE)
    assert counts is not None and to_list(counts) == {(255, 1): 6}


def test_few_cells_of_a_large_map_count_and_none_beside_the_image(monkeypatch) -> None:
    monkeypatch.setattr(confidence, "MAX_PIXELS", 100)
    # The input has 98 x 130 pixels; what the logits have beside them is padding.
    logits = torch.zeros(2, 32, 40)
    logits[0, :25, :33], logits[1] = 20, 0
    output = {"semantic_logits": LogitMap.from_logits(logits, 4, (98, 130))}
    counts = count_confidences(output, np.zeros((98, 130), dtype=np.int64), IGNORE)
    assert counts is not None and 50 < counts.sum() <= 100 and counts[255, 1] == counts.sum()


def test_without_logits_in_memory_nothing_is_predicted_again() -> None:
    def refuse():
        raise AssertionError("read")

    output = {"semantic_logits": LogitMap(refuse, (4, 4), 4, (16, 16))}
    assert count_confidences(output, np.zeros((16, 16)), IGNORE) is None
    assert count_confidences({"sem_seg_labels": None}, np.zeros((16, 16)), IGNORE) is None
