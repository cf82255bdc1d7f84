"""Checks of data sets, before a training and for tools/check_dataset.py.

- `checks`: what must hold before a training starts.
- `survey`: all problems and statistics of data sets.
- `dataset_statistics`: how often each class occurs, and the sizes of images and instances.
"""
