"""Reading and writing files of any data set; below all other packages of `data`.

- `image_files`: images; `image_reader` reads them for a model, `samples` those with more than 8 bits.
- `label_files`: maps of ids.
- `semantic_labels`: label files as maps of semantic ids, and the semantic ground truth of a record.
- `text_files`: JSON, YAML and text.
- `typed_records`: records of such files, checked against declared types.
- `file_system`: lists of files, paths that stay inside their folder.
- `parallel`: many files in several processes.
"""
