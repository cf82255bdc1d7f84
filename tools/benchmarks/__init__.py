"""The sub-commands of tools/benchmark.py, one file each, and the harness that they share.

A sub-command is a module with a docstring (its help), `add_arguments(parser)` and `comparisons(args)`, which returns
the `harness.Comparison`s to measure. Its name is the file's, with hyphens for underscores.
"""
