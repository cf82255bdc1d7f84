"""Gradients that are added up over the parts of a batch are those of the whole batch."""

from itertools import repeat
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from detectron2.utils.events import EventStorage
from point_model import CLASSES, point_model, random_image

from unified_seg import get_config
from unified_seg.config import ConfigError
from unified_seg.ops.losses import global_mean, part_of_batch, weighted_cross_entropy
from unified_seg.training.optimizer import build_optimizer, check_solver
from unified_seg.training.step import StepTrainer

IGNORE = 255


def make_batch() -> list[dict[str, Any]]:
    """Images with very different numbers of labeled pixels, one with none."""
    batch = []
    for number, labeled in enumerate((32, 5, 0, 20)):
        label = torch.full((32, 32), IGNORE)
        label[:labeled] = torch.randint(0, CLASSES, (labeled, 32), generator=torch.Generator().manual_seed(number))
        image = random_image(32, 32, seed=number)
        batch.append({"image": image, "sem_seg": label, "height": 32, "width": 32, "file_name": str(number)})
    return batch


def train(parts: int, *, precision: torch.dtype | None = None, steps: int = 4) -> tuple[dict[str, Any], list[float]]:
    """Return the weights after some steps with clipping and momentum, and the loss of each step."""
    cfg = get_config()
    cfg.SOLVER.BASE_LR = 0.5
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED, cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = True, "full_model"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    model = point_model().train()
    trainer = StepTrainer(
        model, repeat(make_batch()), build_optimizer(cfg, model), precision, parts, ignore_value=IGNORE
    )
    losses = []
    with EventStorage() as storage:
        for step in range(steps):
            trainer.iter = storage.iter = step
            trainer.run_step()
            losses.append(storage.history("total_loss").latest())
    return model.state_dict(), losses


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_steps_equal_those_of_the_whole_batch(parts: int) -> None:
    (whole, losses), (accumulated, mean_losses) = train(1), train(parts)
    for name, value in whole.items():
        torch.testing.assert_close(accumulated[name], value, rtol=1e-5, atol=1e-5)
    assert mean_losses == pytest.approx(losses, rel=1e-5)
    assert losses[-1] < losses[0]


def test_accumulation_works_in_mixed_precision() -> None:
    (whole, losses), (accumulated, mean_losses) = (train(n, precision=torch.bfloat16) for n in (1, 2))
    for name, value in whole.items():
        torch.testing.assert_close(accumulated[name], value, rtol=0.02, atol=0.02)
    assert mean_losses == pytest.approx(losses, rel=0.02)


def test_a_part_counts_by_its_share_of_the_valid_pixels() -> None:
    totals, counts = torch.tensor([6.0, 1.0, 0.0]), torch.tensor([3.0, 1.0, 0.0])
    means = []
    for total, count in zip(totals, counts):
        with part_of_batch(count * 3 / counts.sum()):
            means.append(global_mean(total, count))
    assert sum(means) / 3 == totals.sum() / counts.sum()
    assert global_mean(totals[0], counts[0]) == 2  # as before, outside of the block


def test_parts_are_weighed_by_pixels_without_the_ignore_label() -> None:
    # Of four pixels each, 3 and 1 are not 7; 255 is a class here. The shares are 3/4 and 1/4, times two parts.
    model = point_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    trainer = StepTrainer(model, repeat([]), optimizer, accumulation_steps=2, ignore_value=7)
    labels = torch.tensor([[[0, 255], [255, 7]], [[7, 7], [7, 0]]])
    weights = trainer._weigh_parts([[{"sem_seg": label}] for label in labels])
    assert [weight.item() for weight in weights] == [1.5, 0.5]


def test_losses_with_class_weights_are_averaged_over_the_parts() -> None:
    """Two parts with as many labeled pixels, whose classes weigh 1 and 3: (1 a + 1 b) / 2, not (1 a + 3 b) / 4."""
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.5]])[..., None, None]
    targets = torch.tensor([0, 1])[:, None, None]
    means = []
    for logit, target in zip(logits, targets):
        with part_of_batch(1.0):
            means.append(
                weighted_cross_entropy(logit[None], target[None], IGNORE, class_weights=torch.tensor([1.0, 3.0]))
            )
    a, b = F.cross_entropy(logits, targets, reduction="none").flatten()
    torch.testing.assert_close(sum(means) / 2, (a + b) / 2)


def test_batches_that_cannot_be_split_are_errors() -> None:
    cfg = get_config()
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATION_STEPS = 6, 4
    with pytest.raises(ConfigError, match=r"SOLVER\.ACCUMULATION_STEPS: 4 .*6 images"):
        check_solver(cfg)
    cfg.SOLVER.ACCUMULATION_STEPS = 0
    with pytest.raises(ConfigError, match=r"SOLVER\.ACCUMULATION_STEPS"):
        check_solver(cfg)
