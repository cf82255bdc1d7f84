"""What the command-line tools do. `unified_seg_cli.commands` has their options."""
