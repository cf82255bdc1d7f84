"""A head around another whose weights have the names that they have without it."""

from functools import partial
from typing import Any

from torch import nn


def hide_name(module: nn.Module, child: str) -> None:
    """Leave `child` out of the names in `module`'s state dict, so that weights of the child alone load too.

    Other children keep their names, which must be none of the child's own.
    """
    module.register_state_dict_post_hook(partial(_drop, child))
    module.register_load_state_dict_pre_hook(partial(_add, child))


def _drop(child: str, module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: object) -> None:
    for key in [key for key in state_dict if key.startswith(f"{prefix}{child}.")]:
        state_dict[prefix + key.removeprefix(f"{prefix}{child}.")] = state_dict.pop(key)


def _add(child: str, module: nn.Module, state_dict: dict[str, Any], prefix: str, *unused: object) -> None:
    others = tuple(f"{prefix}{name}." for name, _ in module.named_children() if name != child)
    for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(others)]:
        state_dict[f"{prefix}{child}.{key.removeprefix(prefix)}"] = state_dict.pop(key)
