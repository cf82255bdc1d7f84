"""One parser for all tools, with the options that several tools have: they mean and are spelled the same everywhere."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unified_seg_cli.cores import count_allowed_cores
from unified_seg_cli.types import positive_int, worker_count

# argparse takes -1e-5 for an option. With this pattern it is a value of a config key, as -1 and -0.5 are.
NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)

# The sections of the config and its keys outside of a section; a test compares them.
CONFIG_SECTIONS = ("DATALOADER", "DATASETS", "GLOBAL", "INPUT", "MODEL", "MODEL_EMA", "SOLVER", "STAGES", "TEST")
SINGLE_KEYS = ("CUDNN_BENCHMARK", "OUTPUT_DIR", "SEED", "VERSION", "VIS_PERIOD")
CONFIG_KEY = re.compile(rf"({'|'.join(CONFIG_SECTIONS)})(\.[A-Z0-9_]+)+|{'|'.join(SINGLE_KEYS)}")

# The same as in `unified_seg.data.io.open_image`; a test compares them.
DEFAULT_MAX_PIXELS = 89_478_485


class ToolParser(argparse.ArgumentParser):
    """A parser whose description is the docstring of a tool, printed as it stands.

    Args:
        description: the docstring.
        options: see `argparse.ArgumentParser`.
    """

    def __init__(self, description: str | None = None, **options: Any):
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self._negative_number_matcher = NEGATIVE_NUMBER
        self._needs_model = False

    def add_config_file(self, help: str = "the config that the weights belong to", **options: Any) -> argparse.Action:
        """Add --config-file, required unless it has a default."""
        options.setdefault("required", "default" not in options)
        return self.add_argument("--config-file", metavar="FILE", help=help, **options)

    def add_model_source(self) -> None:
        """Add --weights and --config-file, of which `parse_args` requires one."""
        weights = "weights with their config and classes, as a training writes them: a file, a URL or pypi://<name>"
        self.add_argument("--weights", default="", metavar="FILE", help=weights)
        config = "a config in place of that in the weights; older weights need one, or config.yaml beside them"
        self.add_config_file(config, default="")
        self._needs_model = True

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed = super().parse_args(self._mark_overrides(sys.argv[1:] if args is None else args), namespace)
        if self._needs_model and not parsed.weights and not parsed.config_file:
            self.error("one of the arguments --weights --config-file is required")
        return parsed

    def add_overrides(self) -> None:
        """Add --opts KEY VALUE ... and, at the end of the command line, KEY VALUE ...; both go to `opts`, in order."""
        words: dict[str, Any] = {"nargs": "*", "action": "extend", "default": [], "metavar": "KEY VALUE"}
        self.add_argument("--opts", help="config overrides", **words)
        self.add_argument("opts", help="config overrides, the same as after --opts", **words)

    def _mark_overrides(self, words: Sequence[str]) -> list[str]:
        """Put --opts before config keys that follow an option of many values: --save semantic MODEL.DEVICE cpu."""
        if "--opts" not in self._option_string_actions:
            return list(words)
        marked: list[str] = []
        takes_all = False
        for word in words:
            if word.startswith("--"):
                option = self._option_string_actions.get(word)
                takes_all = option is not None and option.nargs == "+"
            elif takes_all and CONFIG_KEY.fullmatch(word) and not Path(word).exists():
                marked.append("--opts")
                takes_all = False
            marked.append(word)
        return marked

    def add_dataset(self, help: str = "a registered data set with its ground truth", **options: Any) -> argparse.Action:
        """Add --dataset, required unless it has a default."""
        options.setdefault("required", "default" not in options)
        return self.add_argument("--dataset", metavar="NAME", help=help, **options)

    def add_image_source(self) -> argparse._MutuallyExclusiveGroup:
        """Add --input and --dataset, of which one is required; return their group."""
        group = self.add_mutually_exclusive_group(required=True)
        group.add_argument(
            "--input",
            nargs="+",
            metavar="PATH",
            help="images, folders with their sub-folders, quoted patterns, or lists of paths (.txt)",
        )
        group.add_argument("--dataset", metavar="NAME", help="a registered data set; its ground truth is used if any")
        return group

    def add_output(
        self, help: str = "the folder for results", metavar: str = "FOLDER", **options: Any
    ) -> argparse.Action:
        """Add --output, a path, required unless it has a default."""
        options.setdefault("required", "default" not in options)
        return self.add_argument("--output", type=Path, metavar=metavar, help=help, **options)

    def add_workers(self) -> None:
        """Add --workers, the number of processes."""
        help = "processes, 0 or 1 to work in this one alone; default: one for each core"
        self.add_argument("--workers", type=worker_count, default=count_allowed_cores(), metavar="N", help=help)

    def add_count(self, name: str, help: str, **options: Any) -> argparse.Action:
        """Add an option that is a whole number of at least 1, such as --top."""
        if options.get("default") is not None:
            help = f"{help}; default: %(default)s"
        return self.add_argument(name, type=positive_int, metavar="N", help=help, **options)

    def add_max_pixels(self) -> None:
        """Add --max-pixels, the limit of what is read."""
        self.add_count("--max-pixels", "refuse images with more pixels", default=DEFAULT_MAX_PIXELS)

    def add_alias(self, alias: str, action: argparse.Action) -> None:
        """Accept an earlier spelling of an option that is not required, without a line in --help."""
        hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS, "type": action.type}
        self.add_argument(alias, dest=action.dest, metavar=action.metavar, **hidden)
