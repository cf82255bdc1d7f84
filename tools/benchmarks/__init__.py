"""The sub-commands of tools/benchmark.py, one file each, and the harness that they share.

A sub-command is a module with a docstring (its help), `SIZE` (the default of --size), `add_arguments(parser)` and
`comparisons(args)`, which returns the `harness.Comparison`s to measure. Its name is the file's, with hyphens for
underscores. One that adds the argument `--growth FILE` also has `draw_growth(args, machine)`, done instead.
"""
