"""Detectron2's checkpointer with strict rules about what fits a model."""

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from tabulate import tabulate
from torch import Tensor, nn

from unified_seg.checkpoint import pypi_weights  # noqa: F401 (registers pypi://)
from unified_seg.checkpoint.downloads import fetch
from unified_seg.checkpoint.files import CheckpointError, check_is_file, read_checkpoint, write_checkpoint
from unified_seg.checkpoint.integrity import find_not_finite
from unified_seg.checkpoint.run_folder import find_newest_checkpoint, write_last_checkpoint
from unified_seg.checkpoint.sources import as_checkpoint
from unified_seg.config.refused import is_url
from unified_seg.hints import format_hint
from unified_seg.words import ON_CONSOLE

# The first convolution of each residual block, by Detectron2's names.
FIRST_OF_BLOCK = re.compile(r"(?:^|\.)(res\d)\.\d+\.conv1\.weight$")
FROZEN_BY = "(SOLVER.TRAIN_PARTS, MODEL.BACKBONE.FREEZE_AT)"
# DistributedDataParallel's name for its model.
DISTRIBUTED_PREFIX = "module."
# Parts of the model in the table of what was loaded are so many levels of names deep: "backbone.bottom_up".
LEVELS = 2
MAX_SHAPES = 8

logger = logging.getLogger(__name__)
DETECTRON2_LOGGER = logging.getLogger("detectron2.checkpoint.c2_model_loading")


def _is_not_about_shapes(record: logging.LogRecord) -> bool:
    """Whether a message is not one of the two about each tensor of another shape, which our table has too."""
    message = record.getMessage()
    return not message.startswith("Shape of ") and " will not be loaded" not in message


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, which reads files as data and refuses those that do not fit.

    Detectron2's own unpickles every file, and trains or evaluates a randomly initialized model, with a warning in the
    log, if no weight of a file fits. Names of older files are renamed first, see `rename_older_keys`.

    Args:
        model, save_dir, checkpointables: see `DetectionCheckpointer`.
        complete: every parameter of the model must be in the file, as evaluation and prediction need; otherwise, as
            fine-tuning needs, one that fits is enough.
        required: names of parameters and buffers that must be in the file in any case, since they are frozen.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        complete: bool = False,
        required: Collection[str] = (),
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, **checkpointables)
        self.complete = complete
        self.required = frozenset(required)
        self._source = ""
        self._is_checked = False

    def load(self, path: str, *args: Any, is_checked: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Load a local file, a URL or pypi://<name>, see `DetectionCheckpointer.load`.

        Args:
            path: of the weights.
            args, kwargs: see `DetectionCheckpointer.load`.
            is_checked: see `read_checkpoint`.

        Raises:
            CheckpointError: the file is missing, damaged, differs from the digest in its URL, or is not a checkpoint;
                none of its weights fits the model, or, with `complete`, not all, or not all that are `required`; one
                is NaN or infinite, or not a floating-point number; it holds a ResNet of another depth, or another
            EfficientNet.
        """
        if not path and self.required:
            raise CheckpointError(
                f"MODEL.WEIGHTS is empty: {len(self.required)} parameters and buffers are frozen {FROZEN_BY} and must "
                f"come from weights, for example {min(self.required)}; to train all from scratch, set "
                + format_hint("MODEL.BACKBONE.FREEZE_AT", 0)
            )
        if path and not is_url(path):
            check_is_file(path)
        self._source, self._is_checked = path, is_checked
        local = str(fetch(path)) if is_url(path) else path
        return super().load(local, *args, **kwargs)

    def save(self, name: str, **kwargs: Any) -> None:
        """Write <name>.pth and last_checkpoint, each whole or not at all, see `DetectionCheckpointer.save`.

        Raises:
            CheckpointError: the file can't be written.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        states = {key: each.state_dict() for key, each in self.checkpointables.items()}
        file = Path(self.save_dir) / f"{name}.pth"
        self.logger.info(f"Saving checkpoint to {file}")
        write_checkpoint(file, {"model": self.model.state_dict(), **states, **kwargs})
        self.tag_last_checkpoint(file.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        write_last_checkpoint(self.save_dir, last_filename_basename)

    def has_checkpoint(self) -> bool:
        """Return whether there is a good checkpoint to resume from, see `find_newest_checkpoint`."""
        return find_newest_checkpoint(self.save_dir) is not None

    def get_checkpoint_file(self) -> str:
        """Return the newest good checkpoint, "" if there is none, see `find_newest_checkpoint`."""
        newest = find_newest_checkpoint(self.save_dir)
        return str(newest.file) if newest is not None else ""

    def load_weights(self, weights: Mapping[str, Tensor], source: str) -> None:
        """Load a state dict; raises CheckpointError, with `source` in place of a file's name, as `load` does."""
        self._source = source
        self._load_model({"model": dict(weights)})

    def _load_file(self, filename: str) -> dict[str, Any]:
        checkpoint = as_checkpoint(read_checkpoint(filename, is_checked=self._is_checked))
        weights = checkpoint["model"]
        if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
            raise CheckpointError(f"weights {filename}: expected names with tensors, got {weights!r:.80}")
        return checkpoint

    def _convert_ndarray_to_tensor(self, state_dict: dict[str, Any]) -> None:
        super()._convert_ndarray_to_tensor(state_dict)
        # Here their names are those of the model, and PyTorch would drop imaginary parts and take False for 0.
        for name, value in self.model.state_dict().items():
            found = state_dict.get(name)
            if found is not None and value.is_floating_point() and not found.is_floating_point():
                raise ValueError(f"{name} is a tensor of {found.dtype}, expected floating-point numbers")

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        matched_by_suffix = checkpoint.get("matching_heuristics", False)
        weights = checkpoint["model"]
        if all(name.startswith(DISTRIBUTED_PREFIX) for name in weights):
            weights = {name.removeprefix(DISTRIBUTED_PREFIX): value for name, value in weights.items()}
        rename_older_keys(self.model, weights)
        checkpoint["model"] = weights
        DETECTRON2_LOGGER.addFilter(_is_not_about_shapes)
        try:
            incompatible = super()._load_model(checkpoint)
        except (RuntimeError, ValueError) as error:  # a part of the model refuses its weights, or they are no tensors
            raise CheckpointError(f"weights {self._source}: {' '.join(str(error).split())}") from None
        finally:
            DETECTRON2_LOGGER.removeFilter(_is_not_about_shapes)
        self._check_architecture(incompatible)
        self._check_finite(incompatible)
        if matched_by_suffix:
            self._check_depth(incompatible)
        if module := checkpoint.get("whole_module"):
            self._check_whole(incompatible, module)
        self._check_complete(incompatible)
        self._check_required(incompatible)
        return incompatible

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        """Log one table in place of a warning for each kind of difference."""
        logger.info(describe_loading(self.model, incompatible, self._source), extra=ON_CONSOLE)

    def _check_architecture(self, incompatible: Any) -> None:
        """Refuse weights of which none fits a parameter."""
        names = {name for name, _ in self.model.named_parameters()}
        if not names or names - set(incompatible.missing_keys):
            return
        detail = "none of its names is one of the model's"
        if misshapen := [entry for entry in incompatible.incorrect_shapes if entry[0] in names]:
            detail = f"every shape differs, for example {_describe_shapes(misshapen[0])}"
        raise CheckpointError(f"weights {self._source}: from another architecture: {detail}")

    def _check_finite(self, incompatible: Any) -> None:
        """Refuse weights that are NaN or infinite, but not those that the model has no place for."""
        absent = set(incompatible.missing_keys)
        loaded = {name: value for name, value in self.model.state_dict().items() if name not in absent}
        if name := find_not_finite(loaded):
            raise CheckpointError(f"weights {self._source}: {name} has values that are NaN or infinite")

    def _check_complete(self, incompatible: Any) -> None:
        names = {name for name, _ in self.model.named_parameters()}
        absent = names & set(incompatible.missing_keys)
        if self.complete and absent:
            raise CheckpointError(
                f"weights {self._source}: {len(absent)} of {len(names)} parameters are missing or of another shape, "
                f"for example {min(absent)}: the file was not made by this config"
            )

    def _check_required(self, incompatible: Any) -> None:
        absent = self.required & set(incompatible.missing_keys)
        if not absent:
            return
        misshapen = [entry for entry in incompatible.incorrect_shapes if entry[0] in absent]
        example = _describe_shapes(misshapen[0]) if misshapen else min(absent)
        raise CheckpointError(
            f"weights {self._source}: {len(absent)} of {len(self.required)} parameters and buffers that are frozen "
            f"{FROZEN_BY}, and that must come from weights, are missing or of another shape, for example {example}"
        )

    def _check_depth(self, incompatible: Any) -> None:
        """Refuse a ResNet that shares some blocks with the model's: the others would stay randomly initialized."""
        blocks = {name: found[1] for name in self.model.state_dict() if (found := FIRST_OF_BLOCK.search(name))}
        absent = [name for name in incompatible.missing_keys if name in blocks]
        surplus = [
            name
            for name in incompatible.unexpected_keys
            if (found := FIRST_OF_BLOCK.search(name)) and found[1] in blocks.values()
        ]
        if absent or surplus:
            raise CheckpointError(
                f"weights {self._source}: a ResNet of another depth or width: {_describe_misfit(absent, surplus)}; see "
                "MODEL.RESNETS.DEPTH"
            )

    def _check_whole(self, incompatible: Any, module: str) -> None:
        """Refuse weights that leave a tensor of the module as it was, or that it has no place for."""
        absent = [name for name in incompatible.missing_keys if f".{module}." in f".{name}"]
        if absent or incompatible.unexpected_keys:
            fault = _describe_misfit(absent, incompatible.unexpected_keys)
            raise CheckpointError(f"weights {self._source}: from another network than MODEL.TIMM.NAME: {fault}")


def rename_older_keys(model: nn.Module, weights: dict[str, Any]) -> None:
    """Rename weights of older files, in place, to the names that the model's parameters have today.

    Every module with a method `rename_older_keys(state_dict, prefix)` renames the keys that start with its prefix,
    outer modules before inner ones.
    """
    for name, module in model.named_modules():
        if hasattr(module, "rename_older_keys"):
            module.rename_older_keys(weights, f"{name}." if name else "")  # type: ignore[operator]


def describe_loading(model: nn.Module, incompatible: Any, source: str) -> str:
    """Return a table of the tensors that were loaded, that are new and that were left out, by part of the model.

    Args:
        model: after loading.
        incompatible: names as Detectron2's checkpointer returns them: `missing_keys`, `unexpected_keys`, and
            `incorrect_shapes` with (name, shape in the file, shape in the model).
        source: the file.

    Returns:
        A single line if nothing is new or left out.
    """
    shapes = {name: (tuple(file), tuple(own)) for name, file, own in incompatible.incorrect_shapes}
    names = set(model.state_dict())
    new = names & {*incompatible.missing_keys, *shapes}
    left_out = [*incompatible.unexpected_keys, *shapes]
    if not new and not left_out:
        return f"weights {source}: all {len(names)} tensors of the model are loaded"
    counts = [_count_by_part(each) for each in (names - new, new, left_out)]
    parts = dict.fromkeys(part for each in counts for part in sorted(each))
    rows: list[list[object]] = [[part, *(each[part] or "" for each in counts)] for part in parts]
    rows.append(["total", *(each.total() for each in counts)])
    table = tabulate(rows, headers=["tensors of", "loaded", "new", "left out of the file"], tablefmt="simple")
    lines = [f"{name}: {file} in the file, {own} in the model" for name, (file, own) in sorted(shapes.items())]
    more = [f"and {len(lines) - MAX_SHAPES} more"] if len(lines) > MAX_SHAPES else []
    other = ["Other shapes, so left out and new:", *lines[:MAX_SHAPES], *more] if lines else []
    return "\n".join([f"weights {source}:", table, *other])


def _count_by_part(names: Iterable[str]) -> Counter[str]:
    return Counter(".".join(name.split(".")[:-1][:LEVELS]) or name for name in names)


def _describe_shapes(entry: tuple[str, tuple[int, ...], tuple[int, ...]]) -> str:
    name, found, expected = entry
    return f"{name}: {tuple(found)} in the file, expected {tuple(expected)}"


def _describe_misfit(absent: list[str], surplus: list[str]) -> str:
    return f"{absent[0]} is not in it or of another shape" if absent else f"the model has no {surplus[0]}"
