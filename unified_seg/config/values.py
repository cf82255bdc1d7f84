"""Types of config values. A key has the type of its default, and so have the elements of a list.

yacs checks neither the elements of lists nor None, so that ['100'] for SOLVER.STEPS would fail in the training.
"""

import ast
from typing import Any

# An element of lists that are empty by default, as it may look; elements of other empty lists are not checked.
ELEMENTS: dict[str, Any] = {
    "DATASETS.CUSTOM": {},
    "DATASETS.PROPOSAL_FILES_TEST": "",
    "DATASETS.PROPOSAL_FILES_TRAIN": "",
    "DATASETS.TEST": "",
    "DATASETS.TRAIN": "",
    "INPUT.DEFAULT_VALUE_RANGE": 1.0,
    "INPUT.STRETCH_PERCENTILES": 1.0,
    "INPUT.VALUE_RANGE": 1.0,
    "MODEL.FPN.IN_FEATURES": "",
    "MODEL.SEM_SEG_HEAD.CLASS_NAMES": "",
    "MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS": 1.0,
    "SOLVER.LR_FACTORS": [],
    "SOLVER.STEP_FRACTIONS": 0.5,
    "SOLVER.TRAIN_PARTS": "",
    "TEST.AUG.SCALES": 1.0,
    "TEST.EXPECTED_RESULTS": [],
    "TEST.EXPORT": "",
    "TEST.KEYPOINT_OKS_SIGMAS": 1.0,
}
BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", dict: "keys and values"}


def accepts(key: str, value: Any, default: Any) -> bool:
    """Return whether a value has the type of the key's default."""
    if isinstance(default, (list, tuple)):
        if not isinstance(value, (list, tuple)):
            return False
        element = _element_of(key, default)
        return element is None or all(_is_like(item, element) for item in value)
    if default is None:  # SOLVER.WEIGHT_DECAY_BIAS
        return value is None or _is_like(value, 1.0)
    return _is_like(value, default)


def convert(value: Any, default: Any) -> Any:
    """Return an accepted value in the type of the default: list or tuple, and float for whole numbers."""
    return type(default)(value) if isinstance(default, (list, tuple, float)) else value


def suggest(key: str, value: Any, default: Any) -> Any:
    """Return the value that was probably meant, of the right type; None if there is no such guess."""
    if not isinstance(default, (list, tuple)):
        guess = _suggest_scalar(value, 1.0 if default is None else default)
        return guess if accepts(key, guess, default) else None
    element = _element_of(key, default)
    items = list(value) if isinstance(value, (list, tuple)) else _split(value)
    if isinstance(element, (list, tuple)) and not any(isinstance(item, (list, tuple)) for item in items):
        guesses = [items]
    else:
        guesses = [item if element is None else _suggest_scalar(item, element) for item in items]
    guess = type(default)(guesses)
    return guess if guesses and None not in guesses and accepts(key, guess, default) else None


def describe(key: str, default: Any) -> str:
    """Return in words what a value of the key must be."""
    if not isinstance(default, (list, tuple)):
        return NAMES.get(type(default), "a number or None")
    element = _element_of(key, default)
    if element is None:
        return "a list"
    return f"a list, each element {NAMES.get(type(element), 'a list')}"


def _element_of(key: str, default: Any) -> Any:
    """Return an example of an element, None if any is accepted."""
    if not default:
        return ELEMENTS.get(key)
    return default[0]


def _is_like(value: Any, example: Any) -> bool:
    if isinstance(example, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(example, (list, tuple)):
        return isinstance(value, (list, tuple))
    return isinstance(value, type(example)) and isinstance(value, bool) == isinstance(example, bool)


def _suggest_scalar(value: Any, example: Any) -> Any:
    if _is_like(value, example):
        return value
    if isinstance(example, str):
        return "" if value is None else str(value) if isinstance(value, (bool, int, float)) else None
    if isinstance(example, bool):
        return BOOLEANS.get(str(value).lower())
    value = _read(value)
    if isinstance(example, int) and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return value if _is_like(value, example) else None


def _split(value: Any) -> list[Any]:
    """Return the elements of a text such as "a, b" or "[a, b]", or a single value as the only element."""
    if not isinstance(value, str):
        return [] if value is None else [value]
    return [_read(item.strip()) for item in value.strip("[]() ").split(",") if item.strip()]


def _read(text: Any) -> Any:
    try:
        return ast.literal_eval(text) if isinstance(text, str) else text
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
