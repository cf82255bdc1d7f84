"""Shared parts of the scripts datasets/prepare_*.py, which make the files for training from the archives of a data set.

Each file is written under a temporary name and renamed, and existing files are kept: an interrupted script continues
where it stopped, and a finished one has nothing to do.
"""
