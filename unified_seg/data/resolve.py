"""The one step from a config as it was read to a config from which models and loaders are built."""

import logging
from dataclasses import replace
from typing import Any

from detectron2.config import CfgNode

from unified_seg.config import ConfigError, Stage, get_value, make_inference_config, read_stages, replace_values
from unified_seg.config.ranges import check_ranges
from unified_seg.config.refused import check_refused
from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.alignment import common_classes
from unified_seg.data.datasets.custom import register_custom
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.io.open_image import set_max_pixels


def resolve_config(cfg: CfgNode, *, for_inference: bool = False) -> CfgNode:
    """Return the config from which models, loaders and evaluators are built.

    The data sets of DATASETS.CUSTOM are registered, and the heads get the number of classes, their names and the ignore
    label of the data sets. An entry point calls this once. A config that is resolved already is returned as it is, so
    that what Detectron2's own entry points build from a config may call it too.

    Args:
        cfg: a full config; it is not changed.
        for_inference: return the config of the model that a run ends with, see `make_inference_config`.

    Returns:
        A frozen config.

    Raises:
        ConfigError: a number out of its range; INPUT keys that do not fit MODEL.PIXEL_MEAN; no training set, an unknown
            one, data sets whose classes differ, an invalid entry of DATASETS.CUSTOM; for inference also invalid stages.
        DataError: an invalid file of classes.
    """
    if for_inference:
        cfg = make_inference_config(cfg)
    check_refused(cfg)  # again, for configs that Detectron2 read
    check_ranges(cfg)
    ImageReader.from_config(cfg)  # raises ConfigError for channels and ranges that do not fit
    set_max_pixels(cfg.INPUT.MAX_PIXELS)
    register_custom(cfg.DATASETS.CUSTOM, get_datasets_root(), cfg.DATASETS.TRAIN)
    if not cfg.DATASETS.TRAIN:
        raise ConfigError("DATASETS.TRAIN is empty: the classes of a model come from its training set")
    table = common_classes(cfg.DATASETS.TRAIN, cfg.DATASETS.TEST)
    values: dict[str, Any] = {
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": table.num_semantic,
        "MODEL.SEM_SEG_HEAD.CLASS_NAMES": table.semantic_names,
        "MODEL.SEM_SEG_HEAD.IGNORE_VALUE": table.ignore_label,
        "MODEL.ROI_HEADS.NUM_CLASSES": table.num_things,
    }
    changed = {key: value for key, value in values.items() if get_value(cfg, key) != value}
    if cfg.is_frozen() and not changed:
        return cfg
    for key, value in changed.items():
        logging.getLogger(__name__).debug(f"{key} {get_value(cfg, key)} -> {value}, from the data set")
    return replace_values(cfg, changed)


def resolve_stages(cfg: CfgNode) -> list[Stage]:
    """Return the stages of a config, see `read_stages`, each with a config that is resolved.

    Raises:
        ConfigError, DataError: as `read_stages` and `resolve_config` do.
    """
    stages = []
    for stage in read_stages(cfg):
        try:
            stages.append(replace(stage, config=resolve_config(stage.config)))
        except ConfigError as error:
            raise ConfigError(f"stage {stage.name}: {error}") from None
    return stages
