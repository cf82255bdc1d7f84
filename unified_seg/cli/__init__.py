"""What the command-line tools share: one parser with the options that several tools have, and one way to end."""

from unified_seg.cli.options import ToolParser
from unified_seg.cli.tool import one_line_message, run_tool

__all__ = ["ToolParser", "one_line_message", "run_tool"]
