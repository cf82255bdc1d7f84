"""Data sets of the user, registered from the config: DATASETS.CUSTOM."""

from unified_seg.data.datasets.custom.dataset import CustomDataset, CustomEntry, register_custom

__all__ = ["CustomDataset", "CustomEntry", "register_custom"]
