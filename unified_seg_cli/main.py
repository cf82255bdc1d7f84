"""Semantic, instance and panoptic segmentation: train, predict, evaluate, and work with data sets.

    unified-seg setup                                   # once: installs Detectron2
    unified-seg train --config-file my_config.yaml
    unified-seg predict --weights output/model_final.pth --input photos --output predicted --save pictures

`unified-seg <command> --help` lists the options of a command.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from unified_seg_cli.parser import ToolParser


class Command(NamedTuple):
    """A command of unified-seg.

    Attributes:
        module: below unified_seg_cli, with a function `main` that reads the command line.
        words: options that come before those of the user.
        summary: a line for the list of commands; "" for the first line of the module's docstring.
    """

    module: str
    words: tuple[str, ...] = ()
    summary: str = ""


#: In the order in which a user needs them. A new tool is one line here.
COMMANDS = {
    "setup": Command("set_up"),
    "run-demo": Command("commands.run_demo"),
    "convert": Command("commands.convert_dataset"),
    "check": Command("commands.check_dataset"),
    "visualize": Command("commands.visualize_data"),
    "find-lr": Command("find_lr"),
    "train": Command("train_net"),
    "eval": Command("train_net", ("--eval-only",), "Evaluate weights on the test sets of a config: train --eval-only."),
    "demo": Command("commands.demo"),
    "predict": Command("commands.predict"),
    "export": Command("export"),
    "fuse": Command("commands.fuse_predictions"),
    "compare": Command("commands.compare_models"),
    "rank": Command("commands.rank_by_error"),
    "groups": Command("commands.confusion_groups"),
    "analyze": Command("commands.analyze_model"),
    "toyscapes": Command("make_toyscapes"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command with the rest of the command line.

    Raises:
        SystemExit: at the end of the list of commands, and for an unknown command.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(describe_commands())
        sys.exit(0 if words else 2)
    name, *rest = words
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(COMMANDS)}"
        sys.exit(f"unified-seg: unknown command {name!r}; {hint}")
    command = COMMANDS[name]
    sys.argv = [f"unified-seg {name}", *command.words, *rest]  # argparse takes the name of the program from it
    importlib.import_module(f"unified_seg_cli.{command.module}").main()


def describe_commands() -> str:
    """Return the text of --help, with a line for each command."""
    lines = [f"  {name:<12}{command.summary or _read_summary(command.module)}" for name, command in COMMANDS.items()]
    parser = ToolParser(
        __doc__, prog="unified-seg", usage="unified-seg COMMAND ...", epilog="\n".join(["commands:", *lines])
    )
    return parser.format_help()


def _read_summary(module: str) -> str:
    return (importlib.import_module(f"unified_seg_cli.{module}").__doc__ or "").partition("\n")[0]
