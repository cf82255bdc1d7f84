"""What the command-line tools share: one parser with the options that several tools have, hints, and one way to end."""

from unified_seg.cli.hints import format_hint
from unified_seg.cli.options import ToolParser
from unified_seg.cli.tool import one_line_message, run_tool

__all__ = ["ToolParser", "format_hint", "one_line_message", "run_tool"]
