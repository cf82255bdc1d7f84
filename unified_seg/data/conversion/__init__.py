"""What tools/convert_dataset.py does: from the files that people have to those that DATASETS.CUSTOM reads.

Everything is written to a temporary name and renamed, the inputs are never written to, and a second run writes the same
bytes.
"""
