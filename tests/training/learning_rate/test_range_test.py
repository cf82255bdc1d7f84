"""The learning rate range test on functions whose good rates are known, and the tool."""

import csv
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from torch import nn

from unified_seg.config import dump_config
from unified_seg.training.learning_rate.range_test import Curve, run_range_test
from unified_seg.training.step import StepTrainer
from unified_seg_cli.find_lr import main


class Parabola(nn.Module):
    """The loss a w^2 / 2, which gradient descent lowers with rates below 2 / a."""

    def __init__(self, curvature: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.curvature = curvature

    def forward(self, batch: object) -> dict[str, torch.Tensor]:
        return {"loss_parabola": self.curvature * self.weight.square().sum() / 2}


def measure(curvature: float, lowest: float = 1e-4) -> Curve:
    model = Parabola(curvature)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}], lr=0.1)
    return run_range_test(StepTrainer(model, repeat([{}]), optimizer), 0.1, lowest, 1e3, num_steps=80)


@pytest.mark.parametrize("curvature", [1.0, 10.0])
def test_steepest_rate_is_below_the_one_at_which_descent_diverges(curvature: float) -> None:
    curve = measure(curvature)
    assert curve.rates[0] == pytest.approx(1e-4)
    steepest = curve.find_steepest()
    assert steepest is not None and 0.02 / curvature < steepest < 2 / curvature
    assert steepest <= curve.find_lowest()
    # It ends when the loss explodes, and not at 1000.
    assert curve.rates[-1] < 1000 / curvature and len(curve.losses) < 80


def test_groups_keep_the_ratio_of_their_rates() -> None:
    model = Parabola(1.0)
    model.other = nn.Parameter(torch.ones(3))
    model.forward = lambda batch: {"loss": model.weight.sum() + model.other.sum()}
    groups = [{"params": [model.weight], "lr": 0.1}, {"params": [model.other], "lr": 1.0}]
    run_range_test(StepTrainer(model, repeat([{}]), torch.optim.SGD(groups, lr=0.1)), 0.1, 0.01, 0.01, num_steps=1)
    assert model.weight.tolist() == pytest.approx([1 - 0.01] * 3) and model.other.tolist() == pytest.approx([0.9] * 3)


def test_rates_are_those_reported_whatever_the_warm_up() -> None:
    model = Parabola(1.0)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}], lr=0.1)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.001)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0001)
    run_range_test(StepTrainer(model, repeat([{}]), optimizer), 0.1, 0.5, 0.5, num_steps=1)
    assert model.weight.tolist() == pytest.approx([0.5] * 3)


def test_a_loss_that_never_falls_has_no_good_rate() -> None:
    rates = np.geomspace(1e-3, 1, 20)
    assert Curve(rates, np.arange(20.0)).find_steepest() is None
    assert Curve(rates, np.full(20, 2.0)).smooth() == pytest.approx(np.full(20, 2.0))


@pytest.mark.end_to_end
def test_the_tool_writes_the_curve_and_nothing_else(
    tiny_config: CfgNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_config.MODEL.PROPOSAL_GENERATOR.NAME = tiny_config.MODEL.ROI_HEADS.NAME = ""
    tiny_config.MODEL.PANOPTIC_FUSION.NAME, tiny_config.MODEL.MASK_ON = "", False
    (tmp_path / "run.yaml").write_text(dump_config(tiny_config))
    output = tmp_path / "rates"
    main(["--config-file", str(tmp_path / "run.yaml"), "--output", str(output), "--steps", "12"])
    assert {file.name for file in output.iterdir()} == {"lr_curve.png", "lr_curve.csv"}
    assert not Path(tiny_config.OUTPUT_DIR).exists()
    header, *rows = csv.reader((output / "lr_curve.csv").read_text().splitlines())
    assert header == ["learning_rate", "loss", "smoothed"] and 5 < len(rows) <= 12
    assert "steps; the curve is in" in capsys.readouterr().out


def test_rates_in_the_wrong_order_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--lowest"):
        main(["--config-file", "x.yaml", "--output", str(tmp_path), "--lowest", "1", "--highest", "0.1"])
