import json
from pathlib import Path

import pytest

from unified_seg.data.preparation.panoptic_json import read_image_ids, write_panoptic_json
from unified_seg.data.problems import DataError


def test_written_image_ids_are_read_back(tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    assert read_image_ids(file) == []
    entries = [({"id": name}, {"image_id": name, "segments_info": []}) for name in ("b", "a")]
    write_panoptic_json(file, entries, [{"id": 0}])
    assert read_image_ids(file) == ["b", "a"]
    content = json.loads(file.read_text())
    assert content["images"] == [{"id": "b"}, {"id": "a"}] and content["categories"] == [{"id": 0}]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"annotations": [{}]}', '{"annotations": 5}'])
def test_a_file_of_another_format_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json: (not in COCO's panoptic format|not readable as JSON)"):
        read_image_ids(tmp_path / "train.json")
