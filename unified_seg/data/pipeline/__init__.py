"""From records to batches of the model's inputs.

- `mapper`: reads a record's files and makes tensors.
- `instances`: the instances of an image after augmentation; `shared_masks`: their masks.
- `input_augmentation`: the augmentations of a config; `transforms`: those that Detectron2 lacks; `resize`: its resize,
  faster, also together with a crop.
- `loaders`: loaders for training and test.
- `skip_unreadable`: training goes on without a few damaged files.
"""
