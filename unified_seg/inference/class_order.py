"""The classes that weights predict, in the order of their training set."""

import logging
from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode

from unified_seg.checkpoint import CheckpointError
from unified_seg.checkpoint.run_state import read_trainer_state
from unified_seg.words import join_some

# The entry in the state of the trainer, in checkpoints.
CLASS_NAMES = "class_names"


def check_class_order(cfg: CfgNode, checkpoint: Mapping[str, Any]) -> None:
    """Check that weights were trained with the classes of a config in their order; other names are only logged.

    Args:
        cfg: a resolved config.
        checkpoint: what `Checkpointer.load` returns; those of earlier versions and of elsewhere have no names.

    Raises:
        CheckpointError: the same classes in another order, so that predictions would be of other classes.
    """
    trained = (read_trainer_state(checkpoint, f"weights {cfg.MODEL.WEIGHTS}") or checkpoint).get(CLASS_NAMES)
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
