"""Conversion of other formats to those that DATASETS.CUSTOM reads, for tools/convert_dataset.py.

- `colors_to_ids`: label images whose colors are classes, with a legend in one of the formats of `legends`.
- `labelme_to_instances`, `labelme_to_panoptic`: labelme's drawings to COCO's formats; `labelme_shapes` reads them.
- `training_config`: the config of a training on a converted data set.
- `instances_to_panoptic`: COCO's instances and semantic label maps to COCO's panoptic format.
- `paths`: the checks of inputs and outputs.

Files are written to a temporary name and renamed, inputs are never changed, and a second run writes the same bytes.
"""
