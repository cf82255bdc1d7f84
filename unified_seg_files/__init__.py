"""Files that others may have written, and files that others may read; below all other packages, without torch.

- `reading`: regular files alone, up to a size.
- `writing`: files appear whole or not at all, and no link is followed.
- `cache`: the cache folder, and folders of the user's own.
- `arrays`: .npz files.
- `yaml_text`: YAML of plain values, with limits; not imported here, since it needs PyYAML.
- `plain_text`, `log_records`: names and values of others in what people read: a terminal, a table, a log.
"""

from unified_seg_files.arrays import read_arrays, write_arrays
from unified_seg_files.cache import get_cache_folder, make_private_folder
from unified_seg_files.log_records import escape_log_records
from unified_seg_files.plain_text import escape_cell, escape_unprintable
from unified_seg_files.reading import check_regular, hash_file, open_regular, read_bytes
from unified_seg_files.writing import (
    delete_files,
    delete_tree,
    remove_leftovers,
    write_atomically,
    write_bytes,
    write_rows,
    write_text,
)

__all__ = [
    "check_regular",
    "delete_files",
    "delete_tree",
    "escape_cell",
    "escape_log_records",
    "escape_unprintable",
    "get_cache_folder",
    "hash_file",
    "make_private_folder",
    "open_regular",
    "read_arrays",
    "read_bytes",
    "remove_leftovers",
    "write_arrays",
    "write_atomically",
    "write_bytes",
    "write_rows",
    "write_text",
]
