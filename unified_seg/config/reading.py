"""The safe reader of config files.

A config file is data: reading it runs no code, and its `_BASE_` may only name files of its own project or of this one,
see `locate`.
Detectron2's own reader evaluates `!!python/...` tags and follows `_BASE_` to any URL.
"""

import copy
import difflib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from unified_seg.config.alternatives import find_replaced
from unified_seg.config.keys import get_config, get_defaults
from unified_seg.config.locate import ROOT, SCHEME, locate_config, suggest_config
from unified_seg.config.refused import ConfigError, check_refused, get_value
from unified_seg.config.values import accepts, convert, describe, suggest
from unified_seg.hints import format_hint
from unified_seg_files import read_bytes
from unified_seg_files.yaml_text import parse_yaml

BASE_KEY = "_BASE_"
MAX_BYTES = 4_000_000
# Read for one config; a file that is the base of several counts as often.
MAX_FILES = 100
# Files or folders in the top folder of a project, outside of which a config file's `_BASE_` may not point.
ROOT_MARKERS = (".git", "pyproject.toml", "setup.py")

# Key of a stage: the weights that its training ended with, so that it is not trained.
RESULT = "RESULT"
# Keys of a whole run, which a stage can't override.
NOT_IN_STAGES = ("STAGES", "SOLVER.STAGES", "OUTPUT_DIR", "CUDNN_BENCHMARK")

# Keys of earlier versions, each with the values that a file or an override may still give it; they have no effect.
REMOVED_KEYS: dict[str, tuple[Any, ...]] = {
    "MODEL.PANOPTIC_FUSION.FOUND_SCORE_FACTOR": (0.0,),
    "MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.GATE": ("sigmoid",),
    "MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.SPARSE": (True, False),
}

# The default of this project's own tools: the same outputs in a fraction of the memory.
COMPACT = ("MODEL.UNIFIED.OUTPUT", "compact")


def load_config(path: str | Path, overrides: Sequence[str] = (), defaults: Sequence[Any] = ()) -> CfgNode:
    """Read a config file and KEY VALUE overrides on top of the defaults.

    Args:
        path: a yaml file, or the name of one of this project, see `locate_config`; "" for the defaults alone.
        overrides: KEY, VALUE, KEY, VALUE ... as on Detectron2's command line.
        defaults: KEY, VALUE ... of a tool that has defaults of its own; the file and the overrides take precedence.

    Raises:
        ConfigError: the file is missing or not plain yaml; a `_BASE_` outside the project, an unknown key, a value of
            another type than expected, or one that is refused since it would lead to unsafe code, see `refused`.
    """
    cfg = get_config()
    cfg.merge_from_list(list(defaults))
    if path:
        merge_file(cfg, path)
    merge_overrides(cfg, overrides)
    check_refused(cfg)
    return cfg


def merge_overrides(cfg: CfgNode, overrides: Sequence[str]) -> None:
    """Merge KEY, VALUE, ... of a command line into `cfg`; raises ConfigError."""
    _check_words(overrides)
    standard = get_defaults()
    given = {key: decode_value(text) for key, text in zip(overrides[::2], overrides[1::2])}
    replaced = [(key, str(value)) for key, value in find_replaced(given, "command line") if get_value(cfg, key)]
    for key, text in [*zip(overrides[::2], overrides[1::2]), *replaced]:
        if _is_removed(key, decode_value(text), "command line"):
            continue
        _prepare_key(cfg, key, "command line")
        _set_typed(cfg, key, text, standard, f"command line: {key} {text}", partial(format_hint, key))


def _check_words(overrides: Sequence[str]) -> None:
    """Raise ConfigError for options among the overrides, and for words that are not KEY VALUE."""
    if flags := [word for word in overrides if word.startswith("--")]:
        start = list(overrides).index(flags[0])
        hint = format_hint(*map(decode_value, [*overrides[start:], *overrides[:start]]))
        raise ConfigError(
            f"command line: {flags[0]} comes after overrides KEY VALUE; put options before them, such as {hint}"
        )
    if len(overrides) % 2:
        pairs = [decode_value(part) for word in overrides for part in word.split("=", 1)]
        hint = f"; write {format_hint(*pairs)}" if len(pairs) % 2 == 0 else ""
        raise ConfigError(
            f"command line: overrides must be pairs KEY VALUE, without =, got {len(overrides)} words: "
            f"{' '.join(overrides)}{hint}"
        )


def merge_file(cfg: CfgNode, path: str | Path) -> None:
    """Merge a config file, with the files it is based on, into `cfg`; raises ConfigError."""
    found = locate_config(path)
    if not found.is_file():
        raise ConfigError(f"config file {path}: there is no such file{_hint_at_config(str(path))}")
    try:
        merge_values(cfg, _read_with_base(found.resolve(), (), []), str(path))
    except RecursionError:
        raise ConfigError(f"{path}: too many levels of nesting") from None


def merge_values(cfg: CfgNode, values: dict[str, Any], source: str) -> None:
    """Merge nested values, as read from a source such as a file, into `cfg`; raises ConfigError."""
    defaults = get_defaults()
    for key, value in list_leaves(_without_removed_keys(values, source)):
        _prepare_key(cfg, key, source)
        guess = partial(_format_yaml_hint, key.rpartition(".")[2])
        _set_typed(cfg, key, value, defaults, f"{source}: {key}: {value}", guess)


def _set_typed(
    cfg: CfgNode, key: str, given: Any, defaults: CfgNode, where: str, format_guess: Callable[[Any], str]
) -> None:
    """Set an existing key to a value as it was given, if it has the type of the key's default.

    Args:
        defaults: see `get_defaults`.
        where: the begin of the message.
        format_guess: returns the hint with the value that was probably meant.
    """
    if isinstance(get_value(cfg, key), CfgNode):
        if given == {}:
            return
        raise ConfigError(f"{where}: {key} is a group of keys, such as {key}.{next(iter(get_value(cfg, key)), 'KEY')}")
    default = _find_default(cfg, key, defaults)
    value = decode_value(given)
    if isinstance(default, str) and isinstance(given, str) and not isinstance(value, (str, type(None))):
        value = given  # OUTPUT_DIR 2024
    name = _without_stage(key)
    if not accepts(name, value, default):
        guess = suggest(name, value, default)
        hint = "" if guess is None else f"; write {format_guess(guess)}"
        raise ConfigError(f"{where}: must be {describe(name, default)}{hint}")
    set_value(cfg, key, convert(value, default))


def decode_value(value: Any) -> Any:
    """Return the Python value that a text means, as Detectron2's command line reads it; else the text itself."""
    try:
        return CfgNode._decode_cfg_value(value)
    except (MemoryError, RecursionError):  # thousands of brackets
        return value


def _find_default(cfg: CfgNode, key: str, defaults: CfgNode) -> Any:
    """Return the default of a key, or of the key of a stage; the value now if somebody else added the key."""
    node: Any = defaults
    for part in _without_stage(key).split("."):
        if not isinstance(node, CfgNode) or part not in node:
            return get_value(cfg, key)
        node = node[part]
    return node


def _without_stage(key: str) -> str:
    return key.split(".", 2)[-1] if key.startswith("STAGES.") else key


def _format_yaml_hint(name: str, value: Any) -> str:
    """Return a line of a yaml file, in backquotes."""
    plain = list(value) if isinstance(value, tuple) else value
    return f"`{yaml.safe_dump({name: plain}, default_flow_style=True, width=math.inf).strip()[1:-1]}`"


def _read_with_base(path: Path, above: tuple[Path, ...], found: list[Path]) -> dict[str, Any]:
    """Return the values of a file with those of its bases; `above` are based on it, `found` is every file so far."""
    found.append(path)
    if len(found) > MAX_FILES:
        raise ConfigError(f"{path}: {BASE_KEY}: more than {MAX_FILES} files")
    try:
        text = read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"config file {path}: {error.strerror}") from None
    try:
        # The yaml parser reads a character beyond 16 bits, which JSON escapes as a pair, as two.
        values = json.loads(text) if path.suffix == ".json" else parse_yaml(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "yaml (python tags are not evaluated)"
        raise ConfigError(f"{path} is not plain {kind}: {error}") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, got a {type(values).__name__}")
    bases = values.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: {BASE_KEY} must be a file name or a list of them, got {bases!r}")
    merged: dict[str, Any] = {}
    for base in bases:
        target = _resolve_base(path, base)
        if target in (path, *above):
            raise ConfigError(f"{path}: {BASE_KEY} {base} leads back to itself")
        _merge(merged, _read_with_base(target, (path, *above), found))
    own = _with_string_keys(values)
    for key, value in find_replaced(dict(list_leaves(own)), path):
        *parents, last = key.split(".")
        if dict(list_leaves(merged)).get(key):
            node = own
            for part in parents:
                node = node[part]
            node[last] = value
    _merge(merged, own)
    return merged


def _with_string_keys(values: dict[Any, Any]) -> dict[str, Any]:
    """Convert keys to strings: yaml reads 1 and yes, which may be the names of stages, as other types."""
    return {str(k): _with_string_keys(v) if isinstance(v, dict) else v for k, v in values.items()}


def _resolve_base(path: Path, base: str) -> Path:
    if "://" in base and not base.startswith(SCHEME):
        raise ConfigError(f"{path}: {BASE_KEY} must be a local file or start with {SCHEME}, got {base}")
    target = locate_config(base, path.parent).resolve()
    roots = [_find_root(path), ROOT]
    if not any(target.is_relative_to(root) for root in roots):
        raise ConfigError(f"{path}: {BASE_KEY} {base} points outside {' and '.join(map(str, dict.fromkeys(roots)))}")
    if not target.is_file():
        raise ConfigError(f"{path}: {BASE_KEY} {base}: there is no such file{_hint_at_config(base)}")
    return target


def _hint_at_config(name: str) -> str:
    close = suggest_config(name)
    return f"; did you mean {format_hint(close)}?" if close else ""


def _find_root(path: Path) -> Path:
    """Return the top folder of the project that a config file belongs to, its own folder if it belongs to none."""
    for folder in path.parents:
        if any((folder / marker).exists() for marker in ROOT_MARKERS):
            return folder
    return path.parent


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def set_value(cfg: CfgNode, key: str, value: Any) -> None:
    """Set the value of an existing key such as SOLVER.MAX_ITER, of any type."""
    *path, last = key.split(".")
    for part in path:
        cfg = cfg[part]
    cfg[last] = value


def replace_values(cfg: CfgNode, values: Mapping[str, Any]) -> CfgNode:
    """Return a frozen copy of a config with other values of existing keys."""
    cfg = cfg.clone()
    cfg.defrost()
    for key, value in values.items():
        set_value(cfg, key, value)
    cfg.freeze()
    return cfg


def list_leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of nested values, such as SOLVER.MAX_ITER, with their values."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from list_leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _without_removed_keys(values: dict[str, Any], source: str, prefix: str = "") -> dict[str, Any]:
    """Return nested values without the keys in REMOVED_KEYS and without nodes that held nothing else."""
    result = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            inner = _without_removed_keys(value, source, f"{prefix}{key}.")
            if inner:
                result[key] = inner
        elif not _is_removed(f"{prefix}{key}", value, source):
            result[key] = value
    return result


def _is_removed(key: str, value: Any, source: str) -> bool:
    """Return whether a key, possibly of a stage, was removed; raise ConfigError where its value had an effect."""
    name = _without_stage(key)
    if name not in REMOVED_KEYS:
        return False
    accepted = REMOVED_KEYS[name]
    if value not in accepted:
        values = " and ".join(map(str, accepted))
        raise ConfigError(f"{source}: {key} {value}: the key was removed; only {values} can still be given")
    return True


def _prepare_key(cfg: CfgNode, key: str, source: str) -> None:
    """Check that the key exists; add a stage's key to its stage, with the value that the key has outside the stages."""
    top, *stage = key.split(".", 2)
    if top != "STAGES" or not stage:
        _check_key(cfg, key, source)
        return
    name, inner = stage[0], ".".join(stage[1:])
    if any(inner == whole or inner.startswith(f"{whole}.") for whole in NOT_IN_STAGES):
        raise ConfigError(f"{source}: {key}: {inner} belongs to the whole run, a stage can't override it")
    if inner and inner != RESULT:
        _check_key(cfg, inner, source, prefix=f"STAGES.{name}.")
    node, value = cfg.STAGES.setdefault(name, CfgNode()), cfg
    for part in inner.split(".") if inner else ():
        value = "" if part == RESULT else value[part]
        node = node.setdefault(part, CfgNode() if isinstance(value, CfgNode) else copy.deepcopy(value))


def _check_key(cfg: CfgNode, key: str, source: str, prefix: str = "") -> None:
    """Raise ConfigError for an unknown key; `prefix` is the stage, such as "STAGES.base.", in messages."""
    node: Any = cfg
    for part in key.split("."):
        if not isinstance(node, CfgNode) or part not in node:
            known = [name for name, _ in list_leaves(cfg)]
            known = [RESULT, *(name for name in known if not name.startswith("STAGES."))] if prefix else known
            close = difflib.get_close_matches(key, known, n=1) or difflib.get_close_matches(key.upper(), known, n=1)
            hint = f"; did you mean {format_hint(prefix + close[0])}?" if close else ""
            raise ConfigError(f"{source}: unknown config key {prefix}{key}{hint}")
        node = node[part]
