import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses_of_two_processes import IGNORE, example, uneven_batch
from processes import run_script
from torch.nn import functional as F

from unified_seg.ops.losses import mean_binary_cross_entropy, mean_cross_entropy

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
