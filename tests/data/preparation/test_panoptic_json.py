import json
from pathlib import Path

import pytest

from unified_seg.data.preparation.panoptic_json import listed_images, write_panoptic_json
from unified_seg.data.problems import DataError


def test_what_is_written_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    assert listed_images(file) == []
    entries = [({"id": name}, {"image_id": name, "segments_info": []}) for name in ("b", "a")]
    write_panoptic_json(file, entries, [{"id": 0}])
    assert listed_images(file) == ["b", "a"]
    content = json.loads(file.read_text())
    assert content["images"] == [{"id": "b"}, {"id": "a"}] and content["categories"] == [{"id": 0}]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"annotations": [{}]}', '{"annotations": 5}'])
def test_another_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json: (not in COCO's panoptic format|not readable as JSON)"):
        listed_images(tmp_path / "train.json")
