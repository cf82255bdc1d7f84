"""COCO's formats.

- `records`: the records of its JSON files, and its list of images.
- `categories`: its list of categories as a class table, and back.
- `instance_format`, `panoptic_format`: data sets in its two formats, as records in Detectron2's terms.
- `panoptic_segments`: the segments of a panoptic PNG, checked against the JSON.
- `masks`: masks in any of its forms, checked; `rle`: its run lengths of masks in windows.
- `prediction_files`: predictions of any model in its result formats; `prediction_confidence`: how sure they are.
"""
