"""What the command-line tools share: one parser of options, the wording of messages, and one way to end."""

from unified_seg.cli.hints import format_hint
from unified_seg.cli.options import ToolParser
from unified_seg.cli.tool import one_line_message, run_tool
from unified_seg.cli.words import join_some

__all__ = ["ToolParser", "format_hint", "join_some", "one_line_message", "run_tool"]
