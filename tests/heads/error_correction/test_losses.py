"""The losses against the paper's formulas, written with plain loops over pixels in double precision."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from unified_seg.heads.error_correction.losses import (
    ErrorMap,
    correct,
    error_loss,
    find_errors,
    mask_hardest_pixels,
    masked_loss,
)
from unified_seg.heads.weighted_loss import WeightedCrossEntropy

IGNORE = 255


def make_example(
    seed: int, classes: int = 3, size: tuple[int, int] = (3, 4), scale: float = 3.0
) -> tuple[Tensor, Tensor]:
    """Return logits (2, K, H, W), many of them wrong, and targets (2, H, W), a fifth of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, classes, *size, generator=generator)
    targets = torch.randint(0, classes, (2, *size), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.2] = IGNORE
    return logits, targets


def draw_error_map(rows: str) -> ErrorMap:
    """Return images of one row: e = easy error, h = hard error, c = correct, . = ignored; images by spaces."""
    kinds = [list(row) for row in rows.split()]

    def pixels(which: str) -> Tensor:
        return torch.tensor([[[kind in which for kind in row]] for row in kinds])

    return ErrorMap(pixels("eh"), pixels("h"), pixels("ehc"))


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def equation_2(logits: Tensor, error_map: ErrorMap, w2: float = 1.5) -> float:
    """The paper's sums, image by image and pixel by pixel, over the number of valid pixels."""
    total, count = 0.0, 0
    for values, errors, hard, valid in zip(logits.tolist(), *(kind.tolist() for kind in error_map)):
        pixels = [(i, j) for i, row in enumerate(valid) for j, counts in enumerate(row) if counts]
        wrong = sum(errors[i][j] for i, j in pixels)
        for i, j in pixels:
            if errors[i][j]:
                total -= (w2 if hard[i][j] else 1.0) * log_sigmoid(values[i][j])
            else:
                # log(1 - sigmoid(x)) = log sigmoid(-x)
                total -= wrong / (len(pixels) - wrong) * log_sigmoid(-values[i][j])
        count += len(pixels)
    return total / max(count, 1)


def slopes(function: Callable[[Tensor], float], at: Tensor, step: float = 1e-4) -> Tensor:
    """The gradient of a function of doubles by central differences."""
    gradient = torch.zeros_like(at)
    for index in range(at.numel()):
        ends = []
        for sign in (1, -1):
            moved = at.clone()
            moved.view(-1)[index] += sign * step
            ends.append(function(moved))
        gradient.view(-1)[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def test_errors_match_hand_computed_ones() -> None:
    # Two classes; their difference d gives the larger the probability 1 / (1 + exp(-d)): 0.95 at d = log 19 = 2.944.
    # Pixels: right with d = 9 and d = 0.5, wrong with d = 2.9 and d = 3, ignored.
    first = torch.tensor([[[9.0, 0.5, 2.9, 3.0, 9.0]]])
    logits = torch.stack([first, torch.zeros_like(first)], dim=1)
    targets = torch.tensor([[[0, 0, 1, 1, IGNORE]]])
    errors, hard, valid = find_errors(logits, targets, IGNORE)
    assert errors.tolist() == [[[False, False, True, True, False]]]
    assert hard.tolist() == [[[False, False, False, True, False]]]
    assert valid.tolist() == [[[True, True, True, True, False]]]
    # A lower rho makes the third hard too; none is at probability 1.
    assert find_errors(logits, targets, IGNORE, 0.9).hard.tolist() == [[[False, False, True, True, False]]]
    assert not find_errors(logits, targets, IGNORE, 1.0).hard.any()


def test_error_at_the_limit_of_confidence_is_easy() -> None:
    # Of two equal logits the probability is 0.5 in floating point too; the first wins.
    logits, targets = torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.int64)
    found = find_errors(logits, targets, IGNORE, hard_confidence=0.5)
    assert found.errors.all() and not found.hard.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.integers(2, 6), st.floats(0, 20), st.floats(0, 1))
def test_errors_equal_a_plain_reference(seed: int, classes: int, scale: float, rho: float) -> None:
    logits, targets = make_example(seed, classes, scale=scale)
    found = find_errors(logits.requires_grad_(), targets, IGNORE, rho)
    probabilities = logits.detach().double().softmax(1)
    for n, i, j in torch.cartesian_prod(*(torch.arange(size) for size in targets.shape)).tolist():
        probability = probabilities[n, :, i, j].tolist()
        label, target = probability.index(max(probability)), int(targets[n, i, j])
        if abs(max(probability) - rho) < 1e-5 or sorted(probability)[-1] - sorted(probability)[-2] < 1e-9:
            continue  # which side of the limit it is on is a matter of rounding
        assert found.valid[n, i, j] == (target != IGNORE)
        assert found.errors[n, i, j] == (target not in (IGNORE, label))
        assert found.hard[n, i, j] == (target not in (IGNORE, label) and max(probability) > rho)


def test_error_loss_matches_a_hand_computed_one() -> None:
    # Four valid pixels: an easy error, a hard one, two correct; w3 = 2 / 2 = 1. With sigmoid(0) = 1/2 and
    # sigmoid(log 3) = 3/4: (-log 1/2 - 1.5 log 3/4 - log 1/2 - log 1/4) / 4.
    logits = torch.tensor([[[0.0, math.log(3), 0.0, math.log(3), 7.0]]])
    expected = (math.log(2) + 1.5 * math.log(4 / 3) + math.log(2) + math.log(4)) / 4
    assert error_loss(logits, draw_error_map("ehcc.")).item() == pytest.approx(expected)
    assert error_loss(logits[:, None], draw_error_map("ehcc.")).item() == pytest.approx(expected)


def test_hard_errors_have_the_configured_weight() -> None:
    logits = torch.zeros(1, 1, 4, requires_grad=True)
    error_loss(logits, draw_error_map("ehcc")).backward()
    easy, hard, *_ = logits.grad.flatten().tolist()
    # sigmoid(0) - 1 = -1/2 over four pixels.
    assert (easy, hard) == (-0.125, 1.5 * -0.125)
    logits.grad = None
    error_loss(logits, draw_error_map("ehcc"), hard_weight=4.0).backward()
    assert logits.grad.flatten().tolist()[:2] == [-0.125, 4.0 * -0.125]


def test_correct_pixels_weigh_by_the_errors_of_their_image() -> None:
    # sigmoid(0) = 1/2 over the 12 valid pixels of the batch, times w3: 1/3, 2/1, 0 and, without a correct pixel, none.
    logits = torch.zeros(4, 1, 4, requires_grad=True)
    error_loss(logits, draw_error_map("eccc ehc. cccc .e..")).backward()
    third, double, none, alone = logits.grad[:, 0].tolist()
    unit = 0.5 / 12
    assert third == pytest.approx([-unit, unit / 3, unit / 3, unit / 3])
    assert double == pytest.approx([-unit, -1.5 * unit, 2 * unit, 0])
    assert none == [0, 0, 0, 0]
    assert alone == pytest.approx([0, -unit, 0, 0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.floats(0.1, 5), st.floats(0, 10))
def test_error_loss_and_gradient_equal_equation_2(seed: int, hard_weight: float, scale: float) -> None:
    found = find_errors(*make_example(seed), IGNORE, hard_confidence=0.8)
    logits = scale * torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed))
    loss = error_loss(logits.requires_grad_(), found, hard_weight)
    loss.backward()
    exact = logits.detach().double()
    assert loss.item() == pytest.approx(equation_2(exact, found, hard_weight), rel=1e-4, abs=1e-6)
    numeric = slopes(lambda at: equation_2(at, found, hard_weight), exact)
    torch.testing.assert_close(logits.grad.double(), numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kinds", ["cccc", "eheh", "....", "h...", "c...", ".... eccc"])
def test_degenerate_images_have_finite_losses(kinds: str) -> None:
    found = draw_error_map(kinds)
    logits = torch.linspace(-300, 300, found.valid.numel()).reshape(found.valid.shape).requires_grad_()
    loss = error_loss(logits, found)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
    assert loss.item() == pytest.approx(equation_2(logits.detach(), found))
    assert bool(loss == 0) == (not found.errors.any())
    assert not logits.grad[~found.valid].any()


def test_logits_of_ignored_pixels_change_nothing() -> None:
    logits = torch.tensor([[[1.0, -2.0, float("nan")], [1.0, -2.0, float("inf")]]], requires_grad=True)
    found = ErrorMap(*(kind.expand(1, 2, 3) for kind in draw_error_map("ec.")))
    loss = error_loss(logits, found)
    loss.backward()
    assert loss.isfinite() and logits.grad[..., 2].tolist() == [[0, 0]] and logits.grad[..., :2].all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, targets = make_example(0)
    # Beyond what a float16 sigmoid can tell from 1, and its exponential reaches.
    halves = (20 * logits).to(dtype)
    mask = torch.ones_like(targets, dtype=torch.bool)
    found = find_errors(halves, targets, IGNORE)
    assert all(torch.equal(a, b) for a, b in zip(found, find_errors(halves.float(), targets, IGNORE)))
    assert torch.equal(
        mask_hardest_pixels(halves, targets, IGNORE), mask_hardest_pixels(halves.float(), targets, IGNORE)
    )
    for loss, exact in (
        (error_loss(halves[:, 0], found), error_loss(halves[:, 0].float(), found)),
        (
            masked_loss(halves, targets, mask, IGNORE),
            masked_loss(halves.float(), targets, mask, IGNORE),
        ),
    ):
        assert loss.dtype == torch.float32 and loss.isfinite() and torch.equal(loss, exact)


def test_masked_loss_matches_a_hand_computed_one() -> None:
    # Three classes with equal logits: log 3 each; the second pixel's class is e times as probable as the other two:
    # log(1 + 2 / e). The third is outside the mask, the fourth without a class.
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, 1, 0, 1] = 1.0
    targets, mask = torch.tensor([[[2, 1, 0, IGNORE]]]), torch.tensor([[[True, True, False, True]]])
    expected = (math.log(3) + math.log(1 + 2 / math.e)) / 2
    assert masked_loss(logits, targets, mask, IGNORE).item() == pytest.approx(expected)


def test_masked_loss_weighs_classes_as_another_loss_does() -> None:
    # The same pixels: log 3 of class 2 with weight 3, log(1 + 2 / e) of class 1 with weight 1.
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, 1, 0, 1] = 1.0
    targets, mask = torch.tensor([[[2, 1, 0, IGNORE]]]), torch.tensor([[[True, True, False, True]]])
    expected = (3 * math.log(3) + math.log(1 + 2 / math.e)) / 4
    weighted = WeightedCrossEntropy(class_weights=[9.0, 1.0, 3.0])
    assert masked_loss(logits, targets, mask, IGNORE, weighted).item() == pytest.approx(expected)
    assert masked_loss(logits, targets, ~mask & (targets == IGNORE), IGNORE, weighted).item() == 0


@pytest.mark.parametrize(
    "options", [{"hard_share": 0.25}, {"focus": 2.0}, {"dice": 1.0}, {"class_weights": [1.0, 2.0, 5.0]}]
)
def test_masked_loss_is_that_of_a_map_whose_other_pixels_are_ignored(options: dict[str, Any]) -> None:
    logits, targets = make_example(3)
    mask = torch.rand(targets.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    loss = WeightedCrossEntropy(**options)
    expected = loss(logits, torch.where(mask, targets, IGNORE), IGNORE)
    torch.testing.assert_close(masked_loss(logits, targets, mask, IGNORE, loss), expected)


def equation_3(logits: Tensor, targets: Tensor, mask: Tensor) -> float:
    """The paper's sum, over the number of its pixels."""
    terms = []
    for n, i, j in mask.nonzero().tolist():
        if targets[n, i, j] != IGNORE:
            values = logits[n, :, i, j].tolist()
            terms.append(math.log(sum(math.exp(value) for value in values)) - values[int(targets[n, i, j])])
    return sum(terms) / max(len(terms), 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9999), st.floats(0, 1))
def test_masked_loss_and_gradient_equal_equation_3(seed: int, share: float) -> None:
    logits, targets = make_example(seed, size=(2, 3))
    mask = torch.rand(targets.shape, generator=torch.Generator().manual_seed(seed)) < share
    loss = masked_loss(logits.requires_grad_(), targets, mask, IGNORE)
    loss.backward()
    exact = logits.detach().double()
    assert loss.item() == pytest.approx(equation_3(exact, targets, mask), rel=1e-5, abs=1e-6)
    numeric = slopes(lambda at: equation_3(at, targets, mask), exact)
    torch.testing.assert_close(logits.grad.double(), numeric, rtol=1e-4, atol=1e-6)
    assert not logits.grad.movedim(1, -1)[~mask | (targets == IGNORE)].any()


def test_masked_loss_without_pixels_is_zero() -> None:
    logits, targets = make_example(1)
    logits.requires_grad_()
    everything = torch.ones_like(targets, dtype=torch.bool)
    for mask, labels in ((~everything, targets), (everything, torch.full_like(targets, IGNORE))):
        loss = masked_loss(logits, labels, mask, IGNORE)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == 0.0 and not gradient.any()


def test_logits_outside_the_mask_change_nothing() -> None:
    logits, targets = make_example(2)
    targets[targets == IGNORE] = 0
    mask = torch.zeros_like(targets, dtype=torch.bool)
    mask[0, 0, 0] = True
    clean = masked_loss(logits, targets, mask, IGNORE)
    logits[0, :, 1], logits[1, 0], logits[1, 1] = float("nan"), float("inf"), -float("inf")
    loss = masked_loss(logits.requires_grad_(), targets, mask, IGNORE)
    loss.backward()
    assert torch.equal(loss, clean)
    assert logits.grad.isfinite().all() and logits.grad.count_nonzero() == 3


def test_hardest_pixels_match_hand_computed_ones() -> None:
    # Two classes, all targets 0: the smaller the first logit, the higher the loss. Of ten valid pixels two are a fifth.
    first = torch.tensor([[[-9.0, 1, 2, 3, 4, 5]], [[0.0, -7, 6, 7, -8, 9]]])
    logits = torch.stack([first, torch.zeros_like(first)], dim=1)
    targets = torch.zeros(2, 1, 6, dtype=torch.int64)
    targets[0, 0, 0] = targets[1, 0, 4] = IGNORE
    expected = torch.zeros(2, 1, 6, dtype=torch.bool)
    expected[1, 0, :2] = True
    assert torch.equal(mask_hardest_pixels(logits, targets, IGNORE), expected)


def test_first_of_equally_hard_pixels_are_chosen() -> None:
    targets = torch.zeros(2, 4, 5, dtype=torch.int64)
    targets[0, 0, 0] = IGNORE
    # A quarter of 39 is 9.75: ten, the first after the ignored one.
    chosen = mask_hardest_pixels(torch.ones(2, 3, 4, 5), targets, IGNORE, share=0.25)
    assert chosen.flatten().nonzero()[:, 0].tolist() == list(range(1, 11))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.floats(0, 1), st.integers(1, 3))
def test_hardest_pixels_equal_a_plain_reference(seed: int, share: float, levels: int) -> None:
    logits, targets = make_example(seed)
    # Few different losses, so that many are equal.
    logits = logits.round().clamp(0, levels)
    losses = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none").flatten().tolist()
    valid = [index for index, target in enumerate(targets.flatten().tolist()) if target != IGNORE]
    ranked = sorted(valid, key=lambda index: (-losses[index], index))
    chosen = mask_hardest_pixels(logits.requires_grad_(), targets, IGNORE, share)
    count = max(1, round(share * len(valid)))
    assert chosen.flatten().nonzero()[:, 0].tolist() == sorted(ranked[:count])


def test_at_least_one_valid_pixel_is_hard() -> None:
    targets = torch.full((1, 2, 2), IGNORE)
    assert not mask_hardest_pixels(torch.zeros(1, 3, 2, 2), targets, IGNORE).any()
    targets[0, 1, 0] = 2
    assert mask_hardest_pixels(torch.zeros(1, 3, 2, 2), targets, IGNORE).nonzero().tolist() == [[0, 1, 0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.sampled_from([(5, 8), (6, 8), (24, 32), (13, 7)]))
def test_joined_logits_give_the_probabilities_of_equation_5(seed: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    base, detail = (3 * torch.randn(2, 4, 6, 8, generator=generator, dtype=torch.float64) + shift for shift in (0, 5))
    mask = torch.rand(2, 1, 6, 8, generator=generator) < 0.4
    joined = correct(base, detail, mask)
    assert torch.equal(joined, correct(base, detail, mask[:, 0]))
    # Equation 5.
    chosen = mask * detail.softmax(1) + ~mask * base.softmax(1)
    torch.testing.assert_close(joined.softmax(1), chosen)

    def resize(values: Tensor) -> Tensor:
        return F.interpolate(values, size=size, mode="bilinear", align_corners=False)

    large, expected = resize(joined), resize(chosen.log())
    torch.testing.assert_close(large.softmax(1), expected.softmax(1))
    assert torch.equal(large.argmax(1), expected.argmax(1))


def test_gradients_reach_each_prediction_in_its_own_cells() -> None:
    base, detail = (torch.zeros(1, 2, 1, 2, requires_grad=True) for _ in range(2))
    correct(base, detail, torch.tensor([[[True, False]]])).sum().backward()
    assert detail.grad.flatten(2).tolist() == [[[1, 0], [1, 0]]]
    assert base.grad.flatten(2).tolist() == [[[0, 1], [0, 1]]]
