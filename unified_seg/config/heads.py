"""The declarations of the registered semantic heads, read through Detectron2's registry without importing a head.

A head class may declare `add_config`, `training_keys`, `earlier_prediction`, `build_evaluators`, `score_tables`,
`ablation_metrics`, `draw_pictures` and `draw_sheet`; see `heads.base.SemanticHead`. Detectron2's own heads do not.
"""

from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

# The keys that only training reads, beside those of single heads.
TRAINING_KEYS = (
    "SOLVER.TRAIN_PARTS",
    "MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS",
    "MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER",
    "MODEL.SEM_SEG_HEAD.LOSS.UNDO_WEIGHTS",
    "MODEL.SEM_SEG_HEAD.LOSS.FOCUS",
    "MODEL.SEM_SEG_HEAD.LOSS.HARD_SHARE",
    "MODEL.SEM_SEG_HEAD.LOSS.DICE",
)


def registered_heads() -> dict[str, Any]:
    """Return the registered head classes of this project's interface, by name."""
    return {name: head for name, head in SEM_SEG_HEADS_REGISTRY if hasattr(head, "add_config")}


def nested_heads(cfg: CfgNode) -> dict[str, Any]:
    """Return the class of the config's semantic head and those of the base heads in it, by name, outermost first."""
    known, nested = registered_heads(), {}
    name = cfg.MODEL.SEM_SEG_HEAD.NAME
    # A head that names itself as its base can't be built, but its config can be read.
    while name in known and name not in nested:
        nested[name] = known[name]
        name = known[name].base_name(cfg)
    return nested


def wrapper_nodes() -> dict[str, str]:
    """Return the node below MODEL.SEM_SEG_HEAD of each registered wrapper head, by the wrapper's name."""
    return {name: head.config_node for name, head in registered_heads().items() if head.is_wrapper}


def earlier_predictions() -> dict[str, str]:
    """Return, for each map of logits that holds an earlier prediction of a wrapper, the step that follows it."""
    declared = [head.earlier_prediction for head in registered_heads().values()]
    return {earlier.name: earlier.step for earlier in declared if earlier is not None}


def score_tables() -> dict[str, Any]:
    """Return, by task of the heads' own evaluators, the function that formats its scores as a text table."""
    return {task: table for head in registered_heads().values() for task, table in head.score_tables.items()}


def ablation_metrics() -> dict[str, tuple[str, str, str]]:
    """Return, by name, the (task, metric, caption) of the heads' own scores that an ablation can report."""
    return {name: metric for head in registered_heads().values() for name, metric in head.ablation_metrics.items()}


def training_keys() -> list[str]:
    """Return the config keys that only training reads, of the whole model and of all registered heads."""
    return [*TRAINING_KEYS, *(key for head in registered_heads().values() for key in head.training_keys)]
