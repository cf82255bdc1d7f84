import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from unified_seg.heads.confusion_groups.loss import confusion_weighted_loss
from unified_seg.heads.confusion_groups.matrix import normalize_rows
from unified_seg.ops.losses import mean_cross_entropy

IGNORE = 255
CLASS_COUNTS = range(2, 21)


def example(k: int, seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits (2, K, 2, 3) in double, targets of which some are ignored, and weights of which some are 0."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, k, 2, 3, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, k, (2, 2, 3), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.3] = IGNORE
    targets[0, 0, 0], targets[0, 0, 1] = IGNORE, k - 1
    confusion = torch.rand(k, k, generator=generator) * (torch.rand(k, k, generator=generator) < 0.6)
    confusion[-1, -1] += 0.1  # a matrix of zeros alone is invalid
    return logits, targets, normalize_rows(confusion)


def loss_and_gradient(logits: Tensor, targets: Tensor, weights: Tensor, wrong_weight: float) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    loss = confusion_weighted_loss(logits, targets, weights, IGNORE, wrong_weight)
    loss.backward()
    assert logits.grad is not None
    return loss.detach(), logits.grad


def loss_3_and_gradient_4(logits: Tensor, targets: Tensor, c: Tensor, wrong_weight: float) -> tuple[float, np.ndarray]:
    """Equation 3, its second term negated, and equation 4 as printed, pixel by pixel; the mean over valid pixels."""
    k_classes, gradient, total = logits.shape[1], np.zeros(logits.shape), 0.0
    valid = np.argwhere((targets != IGNORE).numpy())
    for n, y, x in valid:
        i = int(targets[n, y, x])
        powers = [math.exp(value) for value in logits[n, :, y, x].tolist()]
        q = [power / sum(powers) for power in powers]
        wrong = [j for j in range(k_classes) if j != i]
        total -= float(c[i, i]) * math.log(q[i])
        total -= wrong_weight * sum(float(c[i, j]) * math.log(1 - q[j]) for j in wrong)
        common = float(c[i, i]) + wrong_weight * sum(float(c[i, j]) * q[j] / (q[j] - 1) for j in wrong)
        for k in range(k_classes):
            last = float(c[i, i]) if k == i else wrong_weight * q[k] / (q[k] - 1) * float(c[i, k])
            gradient[n, k, y, x] = q[k] * common - last
    return total / len(valid), gradient / len(valid)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CLASS_COUNTS), st.integers(0, 9999), st.floats(0.1, 2), st.floats(0, 10))
def test_gradient_is_equation_4(k: int, seed: int, scale: float, wrong_weight: float) -> None:
    # No larger scale: the reference subtracts q from 1, which is inexact below 1e-8.
    logits, targets, weights = example(k, seed, scale)
    loss, gradient = loss_and_gradient(logits, targets, weights, wrong_weight)
    expected, expected_gradient = loss_3_and_gradient_4(logits, targets, weights, wrong_weight)
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(gradient.numpy(), expected_gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", CLASS_COUNTS)
def test_gradient_equals_finite_differences(k: int) -> None:
    logits, targets, weights = example(k, seed=k)
    logits.requires_grad_()

    def loss(logits: Tensor) -> Tensor:
        return confusion_weighted_loss(logits, targets, weights, IGNORE)

    assert torch.autograd.gradcheck(loss, (logits,), eps=1e-6, atol=1e-6, rtol=0)


def test_loss_and_gradient_match_hand_computed_ones() -> None:
    # Pixel 0, of class 0: logits log 2, 0, 0 make q = 1/2, 1/4, 1/4, and its weights are 4/5, 1/5, 0. With lambda = 5:
    # L = -4/5 log 1/2 - 5 * 1/5 log(1 - 1/4) = 4/5 log 2 + log 4/3.
    # (4): c_ii + lambda * sum of c_ij q_j / (q_j - 1) = 4/5 - 1/3 = 7/15 for all k, so
    # k = 0: 1/2 * 7/15 - 4/5 = -17/30, k = 1: 1/4 * 7/15 + 1/3 = 9/20 and k = 2, with which it is never confused, 7/60.
    # Pixel 1 is ignored. Pixel 2, of class 2, was never confused: cross-entropy, log 3, and q less the ground truth.
    logits = torch.tensor([[math.log(2), 7.0, 0.0], [0.0, 8.0, 0.0], [0.0, 9.0, 0.0]])[None, :, None]
    targets = torch.tensor([[[0, IGNORE, 2]]])
    weights = torch.tensor([[0.8, 0.2, 0.0], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0]])
    loss, gradient = loss_and_gradient(logits, targets, weights, wrong_weight=5)
    # The mean over the two that count.
    torch.testing.assert_close(loss, torch.tensor((0.8 * math.log(2) + math.log(4 / 3) + math.log(3)) / 2))
    expected = torch.tensor([[-17 / 30, 0, 1 / 3], [9 / 20, 0, 1 / 3], [7 / 60, 0, -2 / 3]]) / 2
    torch.testing.assert_close(gradient[0, :, 0], expected)


@pytest.mark.parametrize("wrong_weight", [0.0, 5.0])
@pytest.mark.parametrize("k", [2, 7, 20])
def test_identity_weights_give_cross_entropy(k: int, wrong_weight: float) -> None:
    logits, targets, _ = example(k, seed=3, scale=4)
    loss, gradient = loss_and_gradient(logits, targets, torch.eye(k), wrong_weight)
    as_double = logits.clone().requires_grad_()
    expected = F.cross_entropy(as_double, targets, ignore_index=IGNORE)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient, as_double.grad, rtol=0, atol=1e-15)

    loss, gradient = loss_and_gradient(logits.float(), targets, torch.eye(k), wrong_weight)
    as_float = logits.float().requires_grad_()
    expected = mean_cross_entropy(as_float, targets, IGNORE)
    expected.backward()
    # The two differ by the order of their sums at most.
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, as_float.grad, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("height", [20.0, 1e3, 1e4])
def test_certain_wrong_class_has_a_finite_loss(height: float, dtype: torch.dtype) -> None:
    # Logits 0, x, 0 of a pixel of class 0: in float32 q_1 rounds to 1 from x = 17 on, where log(1 - q_1) is
    # log(2 exp(-x) / (1 + 2 exp(-x))) = log 2 - x. With the weights 3/5, 3/10, 1/10 and lambda = 5:
    # L = 3/5 x + 3/2 (x - log 2) = 21/10 x - 3/2 log 2.
    # Its slopes: 21/10 for class 1; log(1 - q_1) = log(q_0 + q_2) shares 3/2 between the other two, as
    # q_0 = q_2: -3/5 - 3/4 for class 0 and -3/4 for class 2.
    logits = torch.tensor([0, height, 0], dtype=dtype).reshape(1, 3, 1, 1)
    targets = torch.zeros(1, 1, 1, dtype=torch.int64)
    weights = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    loss, gradient = loss_and_gradient(logits, targets, weights, wrong_weight=5)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    rounded = logits[0, 1, 0, 0].float()
    torch.testing.assert_close(loss, 2.1 * rounded - 1.5 * math.log(2), rtol=1e-6, atol=1e-6)
    # float32 holds a logarithm of 1e4 to 1e-3.
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-3
    torch.testing.assert_close(
        gradient.flatten(), torch.tensor([-1.35, 2.1, -0.75], dtype=dtype), rtol=tolerance, atol=0
    )


@pytest.mark.parametrize("height", [1e3, 1e4])
def test_certain_right_class_has_no_loss(height: float) -> None:
    logits = torch.tensor([height, 0, -height]).reshape(1, 3, 1, 1)
    weights = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    loss, gradient = loss_and_gradient(logits, torch.zeros(1, 1, 1, dtype=torch.int64), weights, wrong_weight=5)
    assert loss == 0 and not gradient.any()


def test_half_precision_is_computed_in_float32() -> None:
    logits, targets, weights = example(5, seed=0, scale=3)
    half = logits.bfloat16()
    loss = confusion_weighted_loss(half, targets, weights.float(), IGNORE)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, confusion_weighted_loss(half.float(), targets, weights.float(), IGNORE))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss, confusion_weighted_loss(half, targets, weights.float(), IGNORE))


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 20), st.integers(0, 9999), st.floats(0.01, 1))
def test_more_weight_on_a_pair_lowers_its_class(k: int, seed: int, more: float) -> None:
    # By (4) `more` on c_ij adds lambda * more * q_j to the slope of class j, and takes lambda * more * q_j q_k /
    # (1 - q_j) from that of each other class k: descent lowers j and raises all others.
    logits, _, weights = example(k, seed)
    logits, targets = logits[:1, :, :1, :1], torch.zeros(1, 1, 1, dtype=torch.int64)
    raised = weights.clone()
    raised[0, 1] += more
    _, gradient = loss_and_gradient(logits, targets, weights, wrong_weight=5)
    _, gradient_raised = loss_and_gradient(logits, targets, raised, wrong_weight=5)
    q = logits.softmax(1)
    expected = -5 * more * q * q[:, 1:2] / (1 - q[:, 1:2])
    expected[:, 1] = 5 * more * q[:, 1]
    torch.testing.assert_close(gradient_raised - gradient, expected)


def test_ignored_batch_has_zero_loss_and_gradient() -> None:
    logits, targets, weights = example(4, seed=0)
    loss, gradient = loss_and_gradient(logits, torch.full_like(targets, IGNORE), weights, wrong_weight=5)
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(logits))


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf])
def test_logits_of_ignored_pixels_change_nothing(nonsense: float) -> None:
    logits, targets, weights = example(4, seed=1)
    ignored = (targets == IGNORE)[:, None].expand_as(logits)
    spoiled = logits.masked_fill(ignored, nonsense)
    loss, gradient = loss_and_gradient(spoiled, targets, weights, wrong_weight=5)
    expected, expected_gradient = loss_and_gradient(logits, targets, weights, wrong_weight=5)
    assert torch.equal(loss, expected)
    assert torch.equal(gradient, expected_gradient)
    assert not gradient[ignored].any() and gradient[~ignored].any()


@pytest.mark.parametrize("label", [-1, 4])
def test_labels_out_of_range_are_refused(label: int) -> None:
    logits, targets, weights = example(4, seed=1)
    targets[0, 0, 0] = label
    with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
        confusion_weighted_loss(logits, targets, weights, IGNORE)


def confusion_after_training(weights: Tensor, wrong_weight: float = 5.0) -> Tensor:
    """(3, 3) shares of a linear classifier that was trained by the loss, on three classes of points that overlap."""
    centers = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    # As a normal distribution has them, 400 of each class, but without chance.
    quantiles = torch.special.ndtri((torch.arange(20) + 0.5) / 20)
    points = (centers[:, None] + torch.cartesian_prod(quantiles, quantiles)).flatten(0, 1)
    classes = torch.arange(3).repeat_interleave(400)
    features = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    classifier = torch.zeros(3, 3, requires_grad=True)
    optimizer = torch.optim.SGD([classifier], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        # One image of one row: a pixel for each point.
        logits = (features @ classifier).T[None, :, None]
        confusion_weighted_loss(logits, classes[None, None], weights, IGNORE, wrong_weight).backward()
        optimizer.step()
    predicted = (features @ classifier).argmax(1)
    return torch.bincount(3 * classes + predicted, minlength=9).reshape(3, 3) / 400


def test_raising_the_weight_of_a_pair_lowers_its_confusion() -> None:
    # Centers 2 apart with a deviation of 1: about 14% of class 0 are predicted as 1, and as many as 2.
    even = normalize_rows(torch.tensor([[8, 1, 1], [1, 8, 1], [1, 1, 8]]))
    before = confusion_after_training(even)
    assert 0.1 < before[0, 1] < 0.2
    # An evaluation that found the pair confused more: the row is normalized, so class 0 itself counts less.
    found = normalize_rows(torch.tensor([[8, 8, 1], [1, 8, 1], [1, 1, 8]]))
    # The weight of the pair alone.
    raised = even.clone()
    raised[0, 1] = 0.5
    for weights in (found, raised):
        assert confusion_after_training(weights)[0, 1] < 0.7 * before[0, 1]
    # The sign that is printed in (3) rewards it.
    assert confusion_after_training(raised, wrong_weight=-5)[0, 1] > 0.9
