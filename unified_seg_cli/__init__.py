"""The command lines of the tools. They are parsed before PyTorch and Detectron2 are imported, which takes seconds.

`commands` has a module for each tool, with its options; the work is done by the module of the same name in
`unified_seg.commands`.
"""

from unified_seg_cli.parser import ToolParser
from unified_seg_cli.tool import one_line_message, run_command, run_tool

__all__ = ["ToolParser", "one_line_message", "run_command", "run_tool"]
