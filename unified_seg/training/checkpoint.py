"""Checkpoints that are data: loading one runs nothing, and weights that do not fit are an error.

Detectron2's checkpointer unpickles whatever it is given, and trains or scores a randomly initialised model, with a
warning in the log, when no weight of a file fits.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

# All that a pickled dictionary of numpy arrays (Detectron2's model zoo) is made of.
ARRAY_GLOBALS = {
    (module, name)
    for package in ("numpy.core", "numpy._core")
    for module, name in ((f"{package}.multiarray", "_reconstruct"), (f"{package}.multiarray", "scalar"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}


class CheckpointError(RuntimeError):
    """A weight file that can't be used; the message names it."""


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, reading files as data and refusing those that do not fit.

    Args:
        model, save_dir, checkpointables: as of Detectron2.
        complete: every parameter of the model must be in the file, as evaluation and prediction need; otherwise, as
            fine-tuning needs, one that fits is enough.
    """

    def __init__(self, model: nn.Module, save_dir: str = "", *, complete: bool = False, **checkpointables: Any):
        super().__init__(model, save_dir, **checkpointables)
        self.complete = complete
        self._source = ""

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As of Detectron2.

        Raises:
            CheckpointError: the file is missing or not a checkpoint; none of its weights fits the model, or, with
                `complete`, not all.
        """
        if path and "://" not in path and not Path(path).is_file():
            raise CheckpointError(f"weights {path}: there is no such file")
        self._source = path
        try:
            local = self.path_manager.get_local_path(path) if path else path
        except (OSError, ValueError) as error:  # urllib's errors are OSErrors
            raise CheckpointError(f"weights {path}: can't be fetched: {error}") from None
        return super().load(local, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        try:
            if filename.endswith(".pkl"):
                loaded = _load_arrays(filename)
                if isinstance(loaded, dict) and not ("model" in loaded and "__author__" in loaded):
                    # Caffe2's model zoo, which Detectron2 reads by matching names.
                    arrays = loaded.get("blobs", loaded)
                    weights = {k: v for k, v in arrays.items() if not k.endswith("_momentum")}
                    loaded = {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
            else:
                loaded = torch.load(filename, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as error:
            raise CheckpointError(f"weights {filename}: not a checkpoint of weights alone: {error}") from None
        if not isinstance(loaded, dict) or not loaded:
            raise CheckpointError(f"weights {filename}: holds a {type(loaded).__name__}, not a state dict")
        return loaded if "model" in loaded else {"model": loaded}

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        incompatible = super()._load_model(checkpoint)
        names = {name for name, _ in self.model.named_parameters()}
        absent = names & set(incompatible.missing_keys)
        misshapen = [entry for entry in incompatible.incorrect_shapes if entry[0] in names]
        if names and len(absent) >= len(names):
            detail = "none of its names is one of the model's"
            if misshapen:
                key, found, expected = misshapen[0]
                detail = f"every shape differs, for example {key}: {tuple(found)} in the file, {tuple(expected)} here"
            raise CheckpointError(f"weights {self._source}: from another architecture: {detail}")
        if self.complete and absent:
            raise CheckpointError(
                f"weights {self._source}: {len(absent)} of {len(names)} parameters are missing or of another shape, "
                f"{min(absent)} for one: the file was not made by this config"
            )
        return incompatible


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only numpy arrays are allowed")
        return super().find_class(module, name)


def _load_arrays(filename: str) -> Any:
    with open(filename, "rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()
