"""The options of the tools of unified_seg/commands, by the same names."""
