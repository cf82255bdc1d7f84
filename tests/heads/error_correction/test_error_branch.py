"""The error branch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.heads.error_correction.error_branch import ErrorBranch


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 8, 12, generator=generator)
    return logits, torch.randn(2, 3, 32, 48, generator=generator), torch.randn(2, 6, 2, 3, generator=generator)


def build() -> ErrorBranch:
    torch.manual_seed(0)
    return ErrorBranch(4, 3, 6, 8, norm="")


def test_output_equals_a_plain_reference():
    """3.3: convolutions of probabilities and of the image, concatenated, are the low level of a global attention."""
    branch, (logits, image, context) = build(), inputs()
    probabilities = logits.exp() / logits.exp().sum(1, keepdim=True)
    small = image.unfold(2, 4, 4).unfold(3, 4, 4).mean((-2, -1))
    for conv in branch.probabilities:
        probabilities = F.relu(F.conv2d(probabilities, conv.weight, conv.bias, padding=1))
    for conv in branch.image:
        small = F.relu(F.conv2d(small, conv.weight, conv.bias, padding=1))
    attended = F.relu(branch.attention(torch.cat([probabilities, small], dim=1), context))
    expected = F.conv2d(attended, branch.classifier.weight, branch.classifier.bias)
    torch.testing.assert_close(branch(logits, image, context), expected)
    assert expected.shape == (2, 1, 8, 12)


def test_constant_on_all_logits_changes_nothing():
    branch, (logits, image, context) = build(), inputs()
    torch.testing.assert_close(branch(logits + 7, image, context), branch(logits, image, context), rtol=1e-4, atol=1e-6)


def test_gradients_reach_all_three_inputs():
    branch, tensors = build(), [tensor.requires_grad_() for tensor in inputs()]
    branch(*tensors).pow(2).sum().backward()
    assert all(tensor.grad is not None and tensor.grad.any() for tensor in tensors)
