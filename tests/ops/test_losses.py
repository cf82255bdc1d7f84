import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses_of_two_processes import IGNORE, example, uneven_batch
from processes import run_script
from torch.nn import functional as F

from unified_seg.ops.losses import dice_loss, mean_binary_cross_entropy, mean_cross_entropy, weighted_cross_entropy

SCRIPT = Path(__file__).parents[1] / "helpers/losses_of_two_processes.py"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0, 0.9))
def test_cross_entropy_is_the_mean_over_valid_pixels(seed: int, ignored: float) -> None:
    logits, targets = example(seed, ignored=ignored)
    expected = F.cross_entropy(logits, targets, ignore_index=IGNORE)
    torch.testing.assert_close(mean_cross_entropy(logits, targets, IGNORE), expected)


def test_all_ignored_is_zero_with_a_zero_gradient() -> None:
    logits = torch.randn(1, 5, 4, 4, requires_grad=True)
    loss = mean_cross_entropy(logits, torch.full((1, 4, 4), IGNORE), IGNORE)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_is_computed_in_float32() -> None:
    logits, targets = example(0)
    loss = mean_cross_entropy(logits.bfloat16(), targets, IGNORE)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, mean_cross_entropy(logits.bfloat16().float(), targets, IGNORE))


def test_binary_cross_entropy_by_hand() -> None:
    # -log sigmoid(0) = log 2 for the first, -log(1 - sigmoid(log 3)) = log 4 for the second; the third is ignored.
    logits = torch.tensor([[0.0, math.log(3), 7.0]], requires_grad=True)
    loss = mean_binary_cross_entropy(logits, torch.tensor([[1, 0, -1]]))
    torch.testing.assert_close(loss, torch.tensor((math.log(2) + math.log(4)) / 2))
    loss.backward()
    # sigmoid(x) - y over the two valid cells.
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.375, 0.0]]))


def test_binary_cross_entropy_of_ignored_cells_is_zero() -> None:
    logits = torch.tensor([[float("inf"), -3.0]], requires_grad=True)
    loss = mean_binary_cross_entropy(logits, torch.tensor([[-1, -1]]))
    loss.backward()
    assert loss.item() == 0.0 and logits.grad.tolist() == [[0.0, 0.0]]
    assert mean_binary_cross_entropy(torch.zeros(3).bfloat16(), torch.ones(3)).dtype == torch.float32


def test_class_weights_average_as_those_of_torch() -> None:
    logits, targets = example(4)
    weights = torch.tensor([0.5, 1.0, 0.0, 2.0, 3.0])
    expected = F.cross_entropy(logits, targets, weights, ignore_index=IGNORE)
    torch.testing.assert_close(weighted_cross_entropy(logits, targets, IGNORE, class_weights=weights), expected)
    # A mean over weights that sum to less than 1 is a mean too.
    small = weighted_cross_entropy(logits, targets, IGNORE, class_weights=weights * 1e-4)
    torch.testing.assert_close(small, expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0, 5))
def test_focus_multiplies_by_the_power_of_the_other_probabilities(seed: int, focus: float) -> None:
    logits, targets = example(seed)
    valid = targets != IGNORE
    right = logits.double().softmax(1).movedim(1, -1)[valid].gather(1, targets[valid][:, None])[:, 0]
    expected = -((1 - right) ** focus * right.log()).mean()
    actual = weighted_cross_entropy(logits, targets, IGNORE, focus=focus)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("focus", [0.5, 2.0])
def test_focus_of_a_certain_pixel_has_a_finite_gradient(focus: float) -> None:
    logits = torch.tensor([[200.0, 0.0]]).reshape(1, 2, 1, 1).requires_grad_()
    loss = weighted_cross_entropy(logits, torch.zeros(1, 1, 1, dtype=torch.int64), IGNORE, focus=focus)
    loss.backward()
    assert loss.item() == 0 and logits.grad.isfinite().all()


def test_only_the_hardest_pixels_count() -> None:
    # -log q of the four pixels is log 2, log 4, 0 (ignored) and log 1.5; half of four pixels are two.
    odds = torch.tensor([1.0, 1 / 3, 1.0, 2.0]).log()
    logits = torch.stack((odds, torch.zeros(4)))[None, :, None]
    targets = torch.tensor([[[0, 0, IGNORE, 0]]])
    hard = weighted_cross_entropy(logits, targets, IGNORE, hard_share=0.5)
    torch.testing.assert_close(hard, torch.tensor((math.log(2) + math.log(4)) / 2))
    # Of all four, the ignored one counts for nothing.
    hard = weighted_cross_entropy(logits, targets, IGNORE, hard_share=0.999)
    torch.testing.assert_close(hard, torch.tensor((math.log(2) + math.log(4) + math.log(1.5)) / 3))


def test_a_share_of_few_pixels_is_rounded_up() -> None:
    # 0.4 of two pixels are one; its loss is -log softmax(0, log 3)_0 = log 4, the other's log 2.
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])[None, :, None]
    hard = weighted_cross_entropy(logits, torch.zeros(1, 1, 2, dtype=torch.int64), IGNORE, hard_share=0.4)
    torch.testing.assert_close(hard, torch.tensor(math.log(4)))


def test_two_processes_average_to_one_process(tmp_path: Path) -> None:
    run_script(SCRIPT, tmp_path).check_returncode()
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]

    logits, targets = uneven_batch()
    scale = torch.ones((), requires_grad=True)
    loss = mean_cross_entropy(logits * scale, targets, IGNORE)
    loss.backward()
    # DistributedDataParallel averages over the processes.
    torch.testing.assert_close((shares[0][0] + shares[1][0]) / 2, loss.detach())
    torch.testing.assert_close((shares[0][1] + shares[1][1]) / 2, scale.grad)
    # The usual mean within each process would give another number, since the halves differ.
    halves = [F.cross_entropy(logits[i : i + 2], targets[i : i + 2], ignore_index=IGNORE) for i in (0, 2)]
    assert abs((halves[0] + halves[1]) / 2 - loss) > 1e-2


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_scaled_logits_give_the_loss_of_torch(weight: float) -> None:
    logits, targets = example(1)
    expected = F.cross_entropy(logits * weight, targets, ignore_index=IGNORE)
    torch.testing.assert_close(mean_cross_entropy(logits * weight, targets, IGNORE), expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0, 0.9))
def test_dice_is_its_formula_over_the_classes_that_occur(seed: int, ignored: float) -> None:
    logits, targets = example(seed, ignored=ignored)
    targets[targets == 1] = 0  # a class that does not occur
    probabilities, valid = logits.softmax(1), targets != IGNORE
    each = []
    for number in range(logits.shape[1]):
        truth, predicted = (targets == number).float(), probabilities[:, number] * valid
        if truth.any():
            each.append(1 - 2 * (truth * predicted).sum() / (predicted.square().sum() + truth.sum()))
    torch.testing.assert_close(dice_loss(logits, targets, IGNORE), torch.stack(each).mean())


def test_dice_ranges_from_right_to_wrong() -> None:
    targets = torch.tensor([[[0, 0, 1, 2]]])
    sure = 40.0 * F.one_hot(targets, 3).permute(0, 3, 1, 2).float()
    assert dice_loss(sure, targets, IGNORE).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(sure, (targets + 1) % 3, IGNORE).item() == pytest.approx(1, abs=1e-6)
    logits = torch.randn(1, 3, 1, 4, requires_grad=True)
    loss = dice_loss(logits, torch.full((1, 1, 4), IGNORE), IGNORE)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
