import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.dense_prediction_cell.cell import DensePredictionCell

# The receptive field of each branch, from its center, as sums of the branches before it: the taps of (1, 6) are at
# rows -1 0 1 and columns -6 0 6, those of (18, 15) after it at rows -18 0 18 and columns -15 0 15 from there, ...
CHAINS = {
    0: [(1, 6)],
    1: [(1, 6), (18, 15)],
    2: [(1, 6), (18, 15), (6, 3)],
    3: [(1, 6), (1, 1)],
    4: [(1, 6), (6, 21)],
}


def build(norm: str = "GN", channels: int = 3, width: int = 4) -> DensePredictionCell:
    """Return a cell with random norms and biases."""
    torch.manual_seed(0)
    cell = DensePredictionCell(channels, width, norm=norm)
    for parameter in cell.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.1, 1.0)
    return cell


def separable_plainly(x: Tensor, branch: nn.Sequential, rows: int, columns: int) -> Tensor:
    """Apply nine taps to each channel, norm, ReLU; then mix the channels, norm, ReLU."""
    depthwise, pointwise = branch
    height, width = x.shape[-2:]
    padded = F.pad(x, (columns, columns, rows, rows))
    result = torch.zeros_like(x)
    for i in range(3):
        for j in range(3):
            tap = padded[:, :, i * rows : i * rows + height, j * columns : j * columns + width]
            result += tap * depthwise.weight[:, 0, i, j, None, None]
    result = depthwise.norm(result).clamp(min=0)
    mixed = torch.einsum("nchw,oc->nohw", result, pointwise.weight[:, :, 0, 0])
    return pointwise.norm(mixed).clamp(min=0)


# The larger has room for all taps, the smaller hardly for those of (1, 6).
@pytest.mark.parametrize("size", [(50, 90), (7, 9), (1, 1)])
def test_result_equals_explicit_dilated_correlations(size: tuple[int, int]) -> None:
    cell = build()
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    first = separable_plainly(x, cell.branches[0], 1, 6)
    second = separable_plainly(first, cell.branches[1], 18, 15)
    third = separable_plainly(second, cell.branches[2], 6, 3)
    fourth = separable_plainly(first, cell.branches[3], 1, 1)
    fifth = separable_plainly(first, cell.branches[4], 6, 21)
    expected = torch.cat([first, second, third, fourth, fifth], dim=1)
    assert cell.out_channels == expected.shape[1] == 20
    torch.testing.assert_close(cell(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("branch", sorted(CHAINS))
def test_receptive_field_of_each_branch_follows_its_rates(branch: int) -> None:
    # Without norms, which mix the map; with positive weights and inputs, so that nothing is clipped or cancels.
    cell = build(norm="")
    for parameter in cell.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)
    x = torch.ones(1, 3, 61, 101, requires_grad=True)
    cell(x)[0, 4 * branch : 4 * branch + 4, 30, 50].sum().backward()
    expected = {(30, 50)}
    for rows, columns in CHAINS[branch]:
        expected = {(y + i * rows, x + j * columns) for y, x in expected for i in (-1, 0, 1) for j in (-1, 0, 1)}
    seen = {tuple(cell) for cell in x.grad[0].sum(0).nonzero().tolist()}
    assert seen == expected


@pytest.mark.parametrize("norm", ["GN", "BN", "SyncBN"])
def test_every_norm_trains_at_batch_size_one(norm: str) -> None:
    cell = build(norm, channels=32, width=8).train()
    cell(torch.randn(1, 32, 5, 7)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in cell.parameters())


def test_number_of_parameters_is_that_of_separable_convolutions() -> None:
    cell = DensePredictionCell(2048)
    assert cell.out_channels == 5 * 256
    # Nine weights a channel, then a weight for each pair of channels; the norms (gamma and beta) in place of biases.
    first, other = (9 * c + 2 * c + 256 * c + 2 * 256 for c in (2048, 256))
    assert sum(p.numel() for p in cell.parameters()) == first + 4 * other


def test_initialization_without_norm_keeps_the_scale() -> None:
    torch.manual_seed(0)
    cell = DensePredictionCell(64, 64, norm="")
    result = cell(torch.randn(1, 64, 60, 100))
    # Kaiming's initialization keeps the mean square but for taps in the padding. Scaled by the channels too, the first
    # branch would have a 64th of it, the others a 64 * 64th or less.
    for each in result[:, :, 24:36, 42:58].split(64, dim=1):
        assert 0.05 < each.square().mean() < 3
