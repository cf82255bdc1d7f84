"""Predictions as files: images in (`sources`), formats out (`writers`, `labelme`), and a log of what is finished.

- `sources`: the images of folders, patterns, lists, data sets and videos (`videos`), one after another.
- `writers`: what is written for each image; `pictures` and `labelme` have formats of their own.
- `finished_log`: which images are finished, with their entries of the joined JSONs.
- `result_files`: which files are missing, or of images that are gone.
- `prediction_run`: the whole, in one process or several.
"""
