"""Training some parts of a model while all others stay frozen, bit by bit."""

import difflib
from collections.abc import Sequence
from itertools import chain
from typing import Self

from torch import nn

from unified_seg.hints import format_hint

BATCH_COUNT = ".num_batches_tracked"


class FreezableModel(nn.Module):
    """A model with parts that can be trained alone.

    A frozen module has no gradients and stays in inference mode after calls of `train`, BatchNorm and dropout included.
    Modules that contain a trained part keep their mode, since it decides between losses and predictions; their own
    parameters are frozen.

    A subclass calls `train_only` at the end of its constructor.
    """

    _parts: tuple[str, ...] = ()
    _trainable: frozenset[str] | None = None

    def train_only(self, parts: Sequence[str]) -> None:
        """Freeze all but these parts, and unfreeze those of an earlier call.

        Parameters that the constructor made without gradients (MODEL.BACKBONE.FREEZE_AT) stay so. Call it before an
        optimizer or DistributedDataParallel reads the model.

        Args:
            parts: paths of modules; () trains everything.

        Raises:
            ValueError: an unknown path, or parts without trainable parameters.
        """
        if self._trainable is None:
            self._trainable = frozenset(name for name, value in self.named_parameters() if value.requires_grad)
        _check_paths(self, parts)
        trained = {name for name in self._trainable if not parts or _is_in(name, *parts)}
        if parts and not trained:
            raise ValueError(f"SOLVER.TRAIN_PARTS: {', '.join(parts)} has no trainable parameter")
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
        """Return paths of modules, step by step in the order in which they must be trained.

        A step is trained on the predictions of those before it. Other modules have no place in the order.
        """
        return []

    def trained_steps(self) -> list[int]:
        """Return the indices of the steps of `training_order` with a trained part."""
        return [
            index
            for index, step in enumerate(self.training_order())
            if not self._parts or any(_is_in(part, path) or _is_in(path, part) for part in self._parts for path in step)
        ]

    def required_weights(self) -> list[str]:
        """Return the names of the frozen parameters and persistent buffers that must come from weights.

        They are the parameters of the backbone that its constructor froze (MODEL.BACKBONE.FREEZE_AT), and with parts to
        train all else, but the steps after the last trained one.
        """
        trainable = self._trainable or ()
        frozen = {name for name, _ in self.named_parameters() if name not in trainable and _is_in(name, "backbone")}
        if not self._parts:
            return sorted(frozen)
        steps, trained = self.training_order(), self.trained_steps()
        later = [path for step in steps[trained[-1] + 1 :] for path in step] if trained else []
        persistent = {id(value) for value in self.state_dict(keep_vars=True).values()}
        return [
            name
            for name, value in chain(self.named_parameters(), self.named_buffers())
            # No prediction depends on the count of batches, and not every file has it.
            if id(value) in persistent
            and (name in frozen or not _is_in(name, *self._parts, *later))
            and not name.endswith(BATCH_COUNT)
        ]


def has_trainable(*modules: nn.Module) -> bool:
    """Return whether a parameter of one of these modules is trained."""
    return any(parameter.requires_grad for module in modules for parameter in module.parameters())


def _is_in(path: str, *others: str) -> bool:
    """Return whether a path equals one of the others or lies inside it."""
    return any(path == other or path.startswith(f"{other}.") for other in others)


def _outermost_outside(module: nn.Module, parts: Sequence[str], prefix: str = "") -> list[nn.Module]:
    """Return the outermost modules inside `module` that are not in a part and contain no part."""
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
            hint = f"did you mean {format_hint(close[0])}?" if close else f"the model has {top}"
            raise ValueError(f"SOLVER.TRAIN_PARTS: unknown part {part!r}; {hint}")
