import pytest
import torch
from detectron2.modeling.postprocessing import sem_seg_postprocess
from hypothesis import given, settings
from hypothesis import strategies as st
from resize_logits import resize
from torch import Tensor
from torch.nn import functional as F

from unified_seg.ops import resampling
from unified_seg.ops.resampling import (
    sample_confidence,
    sample_labels,
    upsample_to,
)


def random_logits(classes: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(classes, height, width, generator=torch.Generator().manual_seed(seed))


def interpolate(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 9), st.sampled_from([1, 2, 4, 8]), st.integers(0, 99))
def test_without_padding_equals_bilinear_upsampling(
    classes: int, height: int, width: int, stride: int, seed: int
) -> None:
    logits = random_logits(classes, height, width, seed)
    size = (height * stride, width * stride)
    torch.testing.assert_close(resize(logits, stride, size, size), interpolate(logits, size), rtol=0, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 99))
def test_any_output_size_equals_bilinear_resize(height: int, width: int, seed: int) -> None:
    logits = random_logits(3, 8, 11, seed)
    resampled = resize(logits, 4, (32, 44), (height, width))
    torch.testing.assert_close(resampled, interpolate(logits, (height, width)), rtol=0, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 32), st.integers(1, 48), st.integers(1, 90), st.integers(1, 60), st.integers(0, 99))
def test_labels_are_the_argmax_of_the_logits(in_h: int, in_w: int, out_h: int, out_w: int, seed: int) -> None:
    logits = random_logits(5, 8, 12, seed)
    assert_labels_are_the_argmax(logits, 4, (in_h, in_w), (out_h, out_w))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 7), st.sampled_from([1, 4]), st.integers(1, 90), st.integers(0, 99))
def test_labels_of_uniform_areas_are_the_argmax(classes: int, block: int, stride: int, out: int, seed: int) -> None:
    # Flat areas with a little noise, as a trained model predicts: most pixels are not interpolated.
    flat = random_logits(classes, 4, 5, seed).repeat_interleave(block, 1).repeat_interleave(block, 2)
    logits = 5 * flat + 0.1 * random_logits(*flat.shape, seed + 1)
    assert_labels_are_the_argmax(logits, stride, (flat.shape[1] * stride, flat.shape[2] * stride), (out, 2 * out))


def assert_labels_are_the_argmax(
    logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int]
) -> None:
    """Allow ties: the logit of the label is within 1e-5 of the largest one."""
    labels = resize(logits, stride, input_size, output_size, sample_labels)
    assert labels.shape == output_size and labels.dtype == torch.uint8
    resized = resize(logits, stride, input_size, output_size)
    assert (resized.amax(0) - resized.gather(0, labels.long()[None])[0] < 1e-5).all()


def test_labels_by_hand() -> None:
    # Two columns of two classes: class 0 has 3 and 0, class 1 has 0 and 1. At positions 0, .25, .75, 1 between them
    # (stride 4 gives -.375 clamped, -.125, .125, .375, ...) class 0 has 3 (1 - t), class 1 has t: equal at t = 3/4.
    logits = torch.tensor([[[3.0, 0.0]], [[0.0, 1.0]]])
    # t = 0, 0, .125, .375, .625, .875, 1, 1
    assert resize(logits, 4, (4, 8), (1, 8), sample_labels).tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]


def test_confidence_is_the_largest_softmax_probability() -> None:
    logits = random_logits(5, 6, 7)
    resampled = resize(logits, 4, (24, 28), (30, 50), sample_confidence)
    torch.testing.assert_close(resampled, resize(logits, 4, (24, 28), (30, 50)).softmax(0).amax(0))
    assert resampled.shape == (30, 50)


@pytest.mark.parametrize("input_size", [(32, 48), (29, 48), (32, 33), (1, 1), (30, 47)])
def test_padding_is_cropped_as_by_detectron2(input_size: tuple[int, int]) -> None:
    # At the input's own size Detectron2 resizes twice too, but its second resize changes nothing.
    logits = random_logits(4, 8, 12)
    at_input = interpolate(logits, (32, 48))
    expected = sem_seg_postprocess(at_input, input_size, *input_size)
    torch.testing.assert_close(resize(logits, 4, input_size, input_size), expected, rtol=0, atol=1e-5)


def test_logits_by_hand() -> None:
    # Stride 2, logits 0 and 4 side by side, an input of 3 of the 4 padded columns, output of the same size.
    # Output column i sits at (i + 0.5) / 2 - 0.5 = -0.25, 0.25, 0.75 of the logits: 0 (clamped), 1, 3.
    logits = torch.tensor([[[0.0, 4.0]]])
    assert resize(logits, 2, (2, 3), (2, 3)).tolist() == [[[0.0, 1.0, 3.0]] * 2]
    # Brought to 6 columns, each is half of an input column: (i + 0.5) / 4 - 0.5 = -.375, -.125, .125, .375, .625, .875.
    assert resize(logits, 2, (2, 3), (1, 6)).tolist() == [[[0.0, 0.0, 0.5, 1.5, 2.5, 3.5]]]


def test_single_cell_gives_a_constant() -> None:
    logits = torch.tensor([[[1.5]], [[-2.0]]])
    assert torch.equal(resize(logits, 4, (3, 2), (7, 5)), logits.expand(2, 7, 5))
    assert resize(logits, 4, (4, 4), (1, 1)).shape == (2, 1, 1)


@pytest.mark.parametrize("rows", [9, 10, 11, 35])
def test_stripes_equal_one_resize(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "STRIPE_VALUES", 10 * 2 * 12)  # ten rows of two classes at twelve columns
    logits = random_logits(2, 40, 3)
    resampled = resize(logits, 4, (160, 12), (rows, 12))
    assert resampled.shape == (2, rows, 12)
    torch.testing.assert_close(resampled, interpolate(logits, (rows, 12)), rtol=0, atol=1e-5)


def test_stripe_has_at_least_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "STRIPE_VALUES", 5)
    logits = random_logits(2, 4, 3)
    torch.testing.assert_close(resize(logits, 4, (16, 12), (16, 12)), interpolate(logits, (16, 12)))


def test_half_precision_is_computed_in_float32() -> None:
    logits = random_logits(3, 4, 4).bfloat16()
    result = resize(logits, 4, (16, 16), (16, 16))
    assert result.dtype == torch.float32
    assert torch.equal(result, resize(logits.float(), 4, (16, 16), (16, 16)))


def test_more_than_256_classes_give_int16() -> None:
    logits = torch.zeros(300, 2, 2)
    logits[299] = 1
    labels = resize(logits, 4, (8, 8), (8, 8), sample_labels)
    assert labels.dtype == torch.int16
    assert (labels == 299).all()


def test_upsample_to_resizes_unless_equal() -> None:
    source = random_logits(2, 3, 5)[None]
    assert upsample_to(source, like=torch.zeros(1, 7, 3, 5)) is source
    upsampled = upsample_to(source, like=torch.zeros(1, 7, 6, 9))
    assert torch.equal(upsampled, F.interpolate(source, size=(6, 9), mode="bilinear", align_corners=False))
