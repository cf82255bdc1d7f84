import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from unified_seg.ops.metrics.confusion import compute_semantic_scores, confusion_matrix, merge_categories

IGNORE = 255


def test_scores_by_hand():
    # ground truth     prediction
    # 0 0 1 1          0 0 1 0
    # 0 2 2 I          1 1 2 3      I = ignored, so the 3 predicted there does not count
    ground_truth = np.array([[0, 0, 1, 1], [0, 2, 2, IGNORE]])
    prediction = np.array([[0, 0, 1, 0], [1, 1, 2, 3]])
    confusion = confusion_matrix(ground_truth, prediction, 4, IGNORE)
    # true 0: predicted 0 twice, 1 once; true 1: 1 once, 0 once; true 2: 2 once, 1 once.
    assert confusion.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    scores = compute_semantic_scores(confusion)
    # IoU: 0: 2 / (3 + 3 - 2); 1: 1 / (2 + 3 - 1); 2: 1 / (2 + 1 - 1); 3 is neither true nor predicted.
    np.testing.assert_allclose(scores.iou, [2 / 4, 1 / 4, 1 / 2, math.nan])
    np.testing.assert_allclose(scores.accuracy, [2 / 3, 1 / 2, 1 / 2, math.nan])
    assert scores.mean_iou == pytest.approx((2 / 4 + 1 / 4 + 1 / 2) / 3)
    assert scores.frequency_weighted_iou == pytest.approx((3 * 2 / 4 + 2 * 1 / 4 + 2 * 1 / 2) / 7)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)
    assert scores.pixel_accuracy == pytest.approx(4 / 7)


def test_class_predicted_but_not_in_ground_truth_has_iou_0():
    # True 0 twice, predicted 0 and 1: IoU of 0 is 1/2, of 1 is 0, and both enter the mean; accuracy is of true classes.
    scores = compute_semantic_scores(np.array([[1, 1], [0, 0]]))
    assert (scores.mean_iou, scores.mean_accuracy) == (0.25, 0.5)


# 4 is K, and the row where ignored pixels are counted.
@pytest.mark.parametrize("wrong", [4, 7, -1, 254])
def test_id_out_of_range_is_an_error(wrong: int):
    good = np.array([[0, 1], [2, 3]])
    bad = np.array([[0, 1], [2, wrong]])
    with pytest.raises(ValueError, match=rf"ground truth contains ids \[{wrong}\]"):
        confusion_matrix(bad, good, 4, IGNORE)
    with pytest.raises(ValueError, match=rf"prediction contains ids \[{wrong}\]"):
        confusion_matrix(good, bad, 4, IGNORE)


def test_prediction_out_of_range_at_ignored_pixel_is_an_error():
    with pytest.raises(ValueError, match=r"prediction contains ids \[9\].* 0 \.\. 3"):
        confusion_matrix(np.array([IGNORE, 1]), np.array([9, 1]), 4, IGNORE)


@pytest.mark.parametrize("ignore", [IGNORE, -1, 4])
@pytest.mark.parametrize("types", [(np.uint8, np.int64), (np.int32, np.uint8), (np.uint16, np.int16)])
def test_any_integer_type_and_memory_layout(types: tuple[type, type], ignore: int):
    ground_truth = np.array([[0, 1, 2], [3, ignore % 2**16 if types[0] == np.uint16 else ignore, 1]])
    if types[0] == np.uint8 and ignore < 0:
        return
    prediction = np.array([[0, 2, 2], [3, 1, 0]])
    if types[0] == np.uint16 and ignore < 0:
        ignore = 2**16 - 1
    # Column by column in memory, and every other column of a wider array.
    wide = np.repeat(prediction, 2, axis=1).astype(types[1])
    confusion = confusion_matrix(np.asfortranarray(ground_truth.astype(types[0])), wide[:, ::2], 4, ignore)
    assert confusion.tolist() == [[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_no_pixels_give_zeros():
    assert confusion_matrix(np.zeros((0, 4), dtype=int), np.zeros((0, 4), dtype=int), 4, IGNORE).sum() == 0


def test_different_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        confusion_matrix(np.zeros((2, 3), dtype=int), np.zeros((3, 2), dtype=int), 4, IGNORE)


def test_scores_of_a_zero_matrix_are_nan():
    empty = confusion_matrix(np.full((2, 2), IGNORE), np.zeros((2, 2), dtype=int), 4, IGNORE)
    assert empty.sum() == 0
    scores = compute_semantic_scores(empty)
    assert np.isnan([*scores.iou, *scores.accuracy]).all()
    assert np.isnan([scores.mean_iou, scores.frequency_weighted_iou, scores.mean_accuracy, scores.pixel_accuracy]).all()


SHAPE = (5, 9)
GROUND_TRUTHS = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 3, IGNORE]))
PREDICTIONS = arrays(np.uint8, SHAPE, elements=st.integers(0, 3))


@given(GROUND_TRUTHS, PREDICTIONS)
@settings(deadline=None)
def test_every_valid_pixel_is_counted_once(ground_truth: np.ndarray, prediction: np.ndarray):
    confusion = confusion_matrix(ground_truth, prediction, 4, IGNORE)
    expected = [
        [sum((ground_truth == t).reshape(-1) & (prediction == p).reshape(-1)) for p in range(4)] for t in range(4)
    ]
    assert confusion.tolist() == expected
    assert confusion.sum() == (ground_truth != IGNORE).sum()


@given(GROUND_TRUTHS, PREDICTIONS)
@settings(max_examples=40, deadline=None)
def test_equals_cityscapes_scripts(
    tmp_path_factory: pytest.TempPathFactory, ground_truth: np.ndarray, prediction: np.ndarray
):
    """Cityscapes' own evaluation of label ids: 7, 8, 11, 12 are classes, 0 is ignored."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    if (ground_truth == IGNORE).all():
        return
    label_ids = np.zeros(256, dtype=np.uint8)
    label_ids[:4] = 7, 8, 11, 12
    folder = tmp_path_factory.mktemp("labels")
    files = [folder / "prediction.png", folder / "ground_truth.png"]
    for path, ids in zip(files, (prediction, ground_truth)):
        Image.fromarray(label_ids[ids]).save(path)
    official_matrix, mean = _cityscapes_matrix(official, *files)
    confusion = confusion_matrix(ground_truth, prediction, 4, IGNORE)
    assert (official_matrix[np.ix_(label_ids[:4], label_ids[:4])] == confusion).all()
    assert compute_semantic_scores(confusion).mean_iou == pytest.approx(mean)


def _cityscapes_matrix(official, prediction: Path, ground_truth: Path) -> tuple[np.ndarray, float]:
    settings = official.CArgs()
    settings.__dict__.update(vars(official.args))
    settings.quiet, settings.JSONOutput, settings.evalInstLevelScore = True, False, False
    result = official.evaluateImgLists([str(prediction)], [str(ground_truth)], settings)
    return np.array(result["confMatrix"]), result["averageScoreClasses"]


MATRICES = arrays(np.int64, (19, 19), elements=st.integers(0, 1000))


@given(MATRICES, st.lists(st.integers(0, 18), max_size=19))
@settings(max_examples=60, deadline=None)
def test_categories_equal_cityscapes_scripts(confusion: np.ndarray, absent: list[int]):
    """The official functions on a matrix over label ids; some classes are neither true nor predicted."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
    from cityscapesscripts.helpers.labels import trainId2label

    confusion[absent], confusion[:, absent] = 0, 0
    if not confusion.sum():
        return
    label_ids = [trainId2label[i].id for i in range(19)]
    settings = official.CArgs()
    official_matrix = official.generateMatrix(settings)  # also lists the label ids in the settings
    official_matrix[np.ix_(label_ids, label_ids)] = confusion
    names = list(dict.fromkeys(trainId2label[i].category for i in range(19)))
    category_of = np.array([names.index(trainId2label[i].category) for i in range(19)])
    merged = merge_categories(confusion, category_of)
    assert merged.sum() == confusion.sum()
    merged_scores = compute_semantic_scores(merged)
    scores = {name: official.getIouScoreForCategory(name, official_matrix, settings) for name in names}
    np.testing.assert_allclose(merged_scores.iou, list(scores.values()), rtol=1e-12)
    assert merged_scores.mean_iou == pytest.approx(official.getScoreAverage(scores, settings), rel=1e-12)
