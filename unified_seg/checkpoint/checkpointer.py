"""Checkpoints that are data: loading one runs nothing, and weights that do not fit are an error.

Detectron2's checkpointer unpickles whatever it is given, and trains or scores a randomly initialized model, with a
warning in the log, when no weight of a file fits.
"""

import hashlib
import pickle
import re
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import Tensor, nn

from unified_seg.checkpoint.torchvision_weights import is_torchvision_resnet, with_detectron2_names
from unified_seg.errors import UserError

# All that a pickled dictionary of numpy arrays (Detectron2's model zoo) is made of.
ARRAY_GLOBALS = {
    (module, name)
    for package in ("numpy.core", "numpy._core")
    for module, name in ((f"{package}.multiarray", "_reconstruct"), (f"{package}.multiarray", "scalar"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}

# torchvision's files have the first digits of their SHA-256 at the end of their names.
DIGEST_IN_URL = re.compile(r"https://download\.pytorch\.org/.*-([0-9a-f]{8,64})\.pth")
# The first convolution of each residual block, by Detectron2's names.
FIRST_OF_BLOCK = re.compile(r"(?:^|\.)(res\d)\.\d+\.conv1\.weight$")


class CheckpointError(UserError, RuntimeError):
    """A weight file that can't be used; the message names it."""


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, reading files as data and refusing those that do not fit.

    Args:
        model, save_dir, checkpointables: as of Detectron2.
        complete: every parameter of the model must be in the file, as evaluation and prediction need; otherwise, as
            fine-tuning needs, one that fits is enough.
        required: names of parameters and buffers that must be in the file in any case, since SOLVER.TRAIN_PARTS
            freezes them.
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

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As of Detectron2.

        Raises:
            CheckpointError: the file is missing, not what the digest in its URL promises, or not a checkpoint; none of
                its weights fits the model, or, with `complete`, not all, or not all that are `required`; it holds a
                ResNet of another depth.
        """
        if not path and self.required:
            raise CheckpointError(
                f"MODEL.WEIGHTS is empty: {len(self.required)} parameters and buffers that SOLVER.TRAIN_PARTS freezes "
                f"must come from weights, {min(self.required)} for one"
            )
        if path and "://" not in path and not Path(path).is_file():
            raise CheckpointError(f"weights {path}: there is no such file")
        self._source = path
        try:
            local = self.path_manager.get_local_path(path) if path else path
        except (OSError, ValueError) as error:  # urllib's errors are OSErrors
            raise CheckpointError(f"weights {path}: can't be fetched: {error}") from None
        _check_digest(path, local)
        return super().load(local, *args, **kwargs)

    def load_weights(self, weights: Mapping[str, Tensor], source: str) -> None:
        """Load a state dict; raises CheckpointError, with `source` in place of a file's name, as `load` does."""
        self._source = source
        self._load_model({"model": dict(weights)})

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
        if is_torchvision_resnet(loaded):
            weights = with_detectron2_names(loaded)
            return {"model": weights, "__author__": "torchvision", "matching_heuristics": True}
        return loaded if "model" in loaded else {"model": loaded}

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        matched_by_suffix = checkpoint.get("matching_heuristics", False)
        misshapen = self._take_misshapen(checkpoint["model"])
        try:
            incompatible = super()._load_model(checkpoint)
        except RuntimeError as error:  # what a part of the model itself refuses
            raise CheckpointError(f"weights {self._source}: {' '.join(str(error).split())}") from None
        incompatible.incorrect_shapes.extend(misshapen)
        names = {name for name, _ in self.model.named_parameters()}
        absent = names & set(incompatible.missing_keys)
        misshapen = [entry for entry in incompatible.incorrect_shapes if entry[0] in names]
        if names and len(absent) >= len(names):
            detail = "none of its names is one of the model's"
            if misshapen:
                key, found, expected = misshapen[0]
                detail = f"every shape differs, for example {key}: {tuple(found)} in the file, {tuple(expected)} here"
            raise CheckpointError(f"weights {self._source}: from another architecture: {detail}")
        if matched_by_suffix:
            self._check_depth(incompatible)
        if self.complete and absent:
            raise CheckpointError(
                f"weights {self._source}: {len(absent)} of {len(names)} parameters are missing or of another shape, "
                f"{min(absent)} for one: the file was not made by this config"
            )
        self._check_required(incompatible)
        return incompatible

    def _take_misshapen(self, weights: dict[str, Any]) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
        """Remove weights of another shape than the model's; returns their names, their shapes and the model's.

        fvcore would look for their modules by the names in the file, and stop where a part hides its own name.
        """
        shapes = {name: tuple(value.shape) for name, value in self.model.state_dict().items()}
        found = {
            key: (key.removeprefix("module."), tuple(getattr(value, "shape", ()))) for key, value in weights.items()
        }
        misshapen = {key: entry for key, entry in found.items() if shapes.get(entry[0], entry[1]) != entry[1]}
        for key in misshapen:
            del weights[key]
        return [(name, shape, shapes[name]) for name, shape in misshapen.values()]

    def _check_required(self, incompatible: Any) -> None:
        absent = self.required & set(incompatible.missing_keys)
        if not absent:
            return
        # Files have the names of the state dict, which those of the modules are not where a part hides its own.
        in_file = {id(value): key for key, value in self.model.state_dict(keep_vars=True).items()}
        tensors = dict(chain(self.model.named_parameters(), self.model.named_buffers()))
        keys = sorted(in_file[id(tensors[name])] for name in absent)
        detail = f"{keys[0]} for one"
        if misshapen := [entry for entry in incompatible.incorrect_shapes if entry[0] in keys]:
            key, found, expected = misshapen[0]
            detail = f"for one {key}: {tuple(found)} in the file, {tuple(expected)} here"
        raise CheckpointError(
            f"weights {self._source}: {len(absent)} of {len(self.required)} parameters and buffers that "
            f"SOLVER.TRAIN_PARTS freezes, and that must come from weights, are missing or of another shape, {detail}"
        )

    def _check_depth(self, incompatible: Any) -> None:
        """Refuse a ResNet that shares some blocks with the model's: the others would stay as they were drawn."""
        blocks = {name: found[1] for name in self.model.state_dict() if (found := FIRST_OF_BLOCK.search(name))}
        absent = [name for name in incompatible.missing_keys if name in blocks]
        surplus = [
            name
            for name in incompatible.unexpected_keys
            if (found := FIRST_OF_BLOCK.search(name)) and found[1] in blocks.values()
        ]
        if absent or surplus:
            fault = f"{absent[0]} is not in it or of another shape" if absent else f"the model has no {surplus[0]}"
            raise CheckpointError(
                f"weights {self._source}: a ResNet of another depth or width: {fault}; see MODEL.RESNETS.DEPTH"
            )


def _check_digest(url: str, local: str) -> None:
    """Refuse a download that is not what its publisher put there; a URL without a digest says nothing."""
    promised = DIGEST_IN_URL.fullmatch(url)
    if promised is None:
        return
    with open(local, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(promised[1]):
        raise CheckpointError(
            f"weights {url}: its name promises a SHA-256 of {promised[1]}..., {local} has {digest}; delete it to fetch "
            "it again"
        )


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only numpy arrays are allowed")
        return super().find_class(module, name)


def _load_arrays(filename: str) -> Any:
    with open(filename, "rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()
