"""Data sets, the mapper, the loaders and the checks before training; importing registers the data sets."""

from unified_seg.data import datasets  # noqa: F401  (registration)
