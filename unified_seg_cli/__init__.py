"""The command lines of the tools. They are parsed before PyTorch and Detectron2 are imported, which takes seconds.

`commands` has a module for each tool, with its options, which names the module of `unified_seg` that does the work.
"""

from unified_seg_cli.parser import ToolParser
from unified_seg_cli.tool import one_line_message, run_command, run_tool

__all__ = ["ToolParser", "one_line_message", "run_command", "run_tool"]
