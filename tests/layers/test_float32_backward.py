"""The backward passes in float32: the forward pass stays as it is, and the gradients are those of float32."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.float32_backward import Float32Backward

LAST = torch.channels_last


def make_layers() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "depthwise": nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
        "small depthwise": nn.Conv2d(8, 8, 3, padding=1, groups=8),
        "depthwise, bias, stride and dilation": nn.Conv2d(8, 8, 3, stride=2, padding=(2, 1), dilation=2, groups=8),
        "group norm": nn.GroupNorm(4, 8),
        "channel multiplier 2": nn.Conv2d(8, 16, 3, padding=1, groups=8),
        "grouped": nn.Conv2d(8, 8, 3, padding="same", groups=4),
        "plain": nn.Conv2d(8, 8, 3, padding=1),
    }


def run(layer: nn.Module, map: Tensor, context: bool) -> tuple[Tensor, list[Tensor]]:
    """Return the output in bfloat16, and the gradients of the map and the parameters."""
    layer.zero_grad()
    map = map.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if context:
            with Float32Backward():
                output = layer(map)
        else:
            output = layer(map)
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
    (output * weights).sum().backward()
    assert map.grad is not None
    return output.detach(), [map.grad, *(each.grad for each in layer.parameters() if each.grad is not None)]


@pytest.mark.parametrize("name", make_layers())
def test_forward_pass_and_gradients_are_those_without_it(name: str) -> None:
    layer = make_layers()[name]
    map = torch.randn(2, 8, 9, 11).bfloat16().contiguous(memory_format=LAST)
    (output, gradients), (plain, plain_gradients) = run(layer, map, True), run(layer, map, False)
    assert output.dtype is torch.bfloat16 and torch.equal(output, plain)
    assert [each.dtype for each in gradients] == [each.dtype for each in plain_gradients]
    for one, other in zip(gradients, plain_gradients):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.02, atol=0.02 * other.abs().max().item())


def test_gradients_of_weights_are_as_exact_as_in_float32() -> None:
    """By hand: a 1x1 kernel of stride 2 reads 64 x 64 pixels of 1, and one more: its gradient is 4,097.

    In bfloat16 the numbers from 4,096 to 8,192 are 32 apart.
    """
    layer = nn.Conv2d(2, 2, 1, stride=2, groups=2, bias=False)
    map = torch.ones(1, 2, 127, 130, dtype=torch.bfloat16)
    map[..., 1:, -2] = 0
    with torch.autocast("cpu", dtype=torch.bfloat16), Float32Backward():
        layer(map).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.flatten().tolist() == [4097, 4097]


def test_float32_maps_and_inference_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> Tensor:
        raise AssertionError("replaced")

    module = "unified_seg.layers.float32_backward"
    for name in ("_DepthwiseConvolution", "_GroupNorm"):
        monkeypatch.setattr(f"{module}.{name}.apply", refuse)
    layers, map = make_layers(), torch.randn(1, 8, 5, 5).contiguous(memory_format=LAST)
    with Float32Backward():
        for layer in layers.values():
            layer(map.requires_grad_())
            with torch.no_grad():
                layer.bfloat16()(map.bfloat16())
        with pytest.raises(AssertionError, match="replaced"):
            layers["depthwise"](map.bfloat16())
        with pytest.raises(AssertionError, match="replaced"):
            F.group_norm(map.bfloat16(), 4, torch.ones(8), torch.zeros(8))


def test_group_norm_without_a_value_is_that_of_torch() -> None:
    """A batch without objects has no mask to normalize; a value alone in its group is an error."""
    norm = nn.GroupNorm(4, 8)
    with Float32Backward():
        assert norm(torch.zeros(0, 8, 3, 3, dtype=torch.bfloat16)).shape == (0, 8, 3, 3)
        with pytest.raises(ValueError, match="Expected more than 1 value"):
            nn.GroupNorm(8, 8)(torch.zeros(1, 8, 1, 1, dtype=torch.bfloat16))
