"""Data sets, their files, their checks and the loaders; importing registers the data sets.

Each package imports only those before it:

- `problems`: the errors of data, and the kinds of problems.
- `io`: files of any data set.
- `coco`: COCO's formats.
- `datasets`: the data sets by name.
- `resolve`: the config with the classes of its data sets.
- `pipeline`: mapper and loaders.
- `validation`: checks and statistics.
- `conversion`: from other formats to those of DATASETS.CUSTOM.
- `preparation`: what datasets/prepare_*.py share.

The last four do not import each other.
"""

from unified_seg.data import datasets  # noqa: F401  (registration)
