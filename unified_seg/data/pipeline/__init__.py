"""From records to batches of the model's inputs.

- `mapper`: reads a record's files and makes tensors.
- `input_augmentation`: the augmentations of a config; `transforms`: those that Detectron2 lacks.
- `loaders`: loaders for training and test.
- `skip_unreadable`: training goes on without a few damaged files.
"""
