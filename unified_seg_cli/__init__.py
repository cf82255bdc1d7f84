"""The command lines of the tools. They are parsed before PyTorch and Detectron2 are imported, which takes seconds.

Each tool is a module with its options, here or in `commands`. It names the module of `unified_seg` that does the work.
"""

from unified_seg_cli.parser import ToolParser
from unified_seg_cli.tool import one_line_message, run_command, run_tool

__all__ = ["ToolParser", "one_line_message", "run_command", "run_tool"]
