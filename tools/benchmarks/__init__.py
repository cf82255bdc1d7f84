"""The sub-commands of tools/benchmark.py, one file each, and the harness that they share.

A sub-command is a module with a docstring (its help), `SIZE` (the default of --size), `add_arguments(parser)` and
`make_comparisons(args)`, which returns the `harness.Comparison`s to measure. Its name is the name of the file, with
hyphens for underscores. A module that adds the option `--growth FILE` also has `draw_growth(args, machine)`, which then
runs instead.

In each comparison a method of this library is timed against a peer: another implementation of the same task, or the
baseline that the method extends.
"""
