"""Data sets of photographs that are small enough to train on a few CPU cores."""

from unified_seg.data.datasets.small.camvid import register_camvid
from unified_seg.data.datasets.small.cropweed import register_cropweed
from unified_seg.data.datasets.small.nuclei import register_nuclei

__all__ = ["register_camvid", "register_cropweed", "register_nuclei"]
