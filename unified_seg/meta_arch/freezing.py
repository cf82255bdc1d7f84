"""Training some parts of a model while all else stays as it is, bit by bit."""

import difflib
from collections.abc import Sequence
from itertools import chain
from typing import Self

from torch import nn

BATCH_COUNT = ".num_batches_tracked"


class FreezableModel(nn.Module):
    """A model of which some parts can be trained alone.

    What is frozen has no gradients and is in inference mode, whatever `train` says later: statistics of BatchNorm and
    dropout too. Modules around a trained part keep their mode, since it decides between losses and answers; parameters
    of their own are frozen.

    A subclass calls `train_only` at the end of its constructor.
    """

    _parts: tuple[str, ...] = ()
    _trainable: frozenset[str] | None = None

    def train_only(self, parts: Sequence[str]) -> None:
        """Freeze all but these parts, and thaw what an earlier call froze.

        Parameters that the constructor made without gradients (MODEL.BACKBONE.FREEZE_AT) never get any. To be called
        before an optimizer or DistributedDataParallel looks at the model.

        Args:
            parts: paths of modules; () trains everything.

        Raises:
            ValueError: a path of no module, or parts with nothing to train.
        """
        if self._trainable is None:
            self._trainable = frozenset(name for name, value in self.named_parameters() if value.requires_grad)
        _check_paths(self, parts)
        trained = {name for name in self._trainable if not parts or _is_in(name, *parts)}
        if parts and not trained:
            raise ValueError(f"SOLVER.TRAIN_PARTS: there is nothing to train in {', '.join(parts)}")
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in trained)
        self._parts = tuple(parts)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self._parts:
            for module in _outermost_outside(self, self._parts):
                module.eval()
        return self

    def training_order(self) -> list[list[str]]:
        """Paths of modules, step by step in the order in which they must be trained.

        A step learns from what those before it say. Modules in none of the steps have no place in the order.
        """
        return []

    def trained_steps(self) -> list[int]:
        """Indices of the steps of `training_order` of which something is trained."""
        return [
            index
            for index, step in enumerate(self.training_order())
            if not self._parts or any(_is_in(part, path) or _is_in(path, part) for part in self._parts for path in step)
        ]

    def required_weights(self) -> list[str]:
        """Names of the frozen parameters and persistent buffers that must come from weights.

        All but those of steps that come after whatever is trained; none where nothing is frozen.
        """
        if not self._parts:
            return []
        steps, trained = self.training_order(), self.trained_steps()
        later = [path for step in steps[trained[-1] + 1 :] for path in step] if trained else []
        persistent = {id(value) for value in self.state_dict(keep_vars=True).values()}
        return [
            name
            for name, value in chain(self.named_parameters(), self.named_buffers())
            # No answer depends on the count of batches, and not every file has it.
            if id(value) in persistent and not _is_in(name, *self._parts, *later) and not name.endswith(BATCH_COUNT)
        ]


def learns(*modules: nn.Module) -> bool:
    """Whether some parameter of one of these modules is trained."""
    return any(parameter.requires_grad for module in modules for parameter in module.parameters())


def _is_in(path: str, *others: str) -> bool:
    """Whether a path is one of the others or lies inside one."""
    return any(path == other or path.startswith(f"{other}.") for other in others)


def _outermost_outside(module: nn.Module, parts: Sequence[str], prefix: str = "") -> list[nn.Module]:
    """The outermost modules inside `module` that are neither in a part nor around one."""
    found = []
    for name, child in module.named_children():
        path = prefix + name
        if _is_in(path, *parts):
            continue
        if any(_is_in(part, path) for part in parts):
            found += _outermost_outside(child, parts, f"{path}.")
        else:
            found.append(child)
    return found


def _check_paths(model: nn.Module, parts: Sequence[str]) -> None:
    known = [name for name, _ in model.named_modules() if name]
    for part in parts:
        if part not in known:
            close = difflib.get_close_matches(part, known, n=1)
            top = ", ".join(name for name, _ in model.named_children())
            hint = f"did you mean {close[0]}?" if close else f"the model has {top}"
            raise ValueError(f"SOLVER.TRAIN_PARTS: the model has no part {part!r}; {hint}")
