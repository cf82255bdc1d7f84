from pathlib import Path
from typing import Any

import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from PIL import Image

from unified_seg.data.pipeline.loaders import build_train_loader
from unified_seg.data.pipeline.skip_unreadable import SkipUnreadable
from unified_seg.data.problems import DataError, UnreadableError

RECORDS = [{"file_name": f"{i}.jpg"} for i in range(5)]


def mapper_that_fails(*damaged: int) -> Any:
    def mapper(record: dict[str, Any]) -> dict[str, Any]:
        if record in [RECORDS[i] for i in damaged]:
            raise UnreadableError(f"{record['file_name']}: damaged\nin line 1")
        return record

    return mapper


def test_unreadable_records_are_replaced_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = tmp_path / "run" / "unreadable.txt"
    mapper = SkipUnreadable(mapper_that_fails(1, 3), RECORDS, ledger, limit=2)
    seen = [mapper(record)["file_name"] for record in RECORDS * 4]
    assert [seen[i] for i in (0, 2, 4)] == ["0.jpg", "2.jpg", "4.jpg"]
    assert set(seen) == {"0.jpg", "2.jpg", "4.jpg"}
    # Each file once, however often it is asked for, in the log and in the list.
    assert ledger.read_text().splitlines() == ["1.jpg: damaged in line 1", "3.jpg: damaged in line 1"]
    assert [r.message for r in caplog.records] == [f"left out: {line}" for line in ledger.read_text().splitlines()]


def test_more_files_than_the_limit_are_an_error(tmp_path: Path) -> None:
    mapper = SkipUnreadable(mapper_that_fails(1, 3), RECORDS[:1], tmp_path / "list.txt", limit=1)
    mapper(RECORDS[1])
    with pytest.raises(DataError, match=r"MAX_UNREADABLE: 2 files .* limit is 1; .*list\.txt, such as 3\.jpg: damaged"):
        mapper(RECORDS[3])


def test_the_limit_counts_across_processes(tmp_path: Path) -> None:
    both = [SkipUnreadable(mapper_that_fails(1, 3), RECORDS[:1], tmp_path / "list.txt", limit=1) for _ in range(2)]
    both[0](RECORDS[1])
    both[1](RECORDS[1])
    with pytest.raises(DataError, match="2 files"):
        both[1](RECORDS[3])


def test_sets_without_a_readable_file_are_an_error(tmp_path: Path) -> None:
    mapper = SkipUnreadable(mapper_that_fails(0, 1, 2, 3, 4), RECORDS, tmp_path / "list.txt", limit=10)
    with pytest.raises(DataError, match=r"100 records drawn .* are unreadable"):
        mapper(RECORDS[0])


def test_invalid_text_in_names_is_escaped(tmp_path: Path) -> None:
    def mapper(record: dict[str, Any]) -> dict[str, Any]:
        if "ok" not in record:
            raise UnreadableError("a\udcff.jpg: damaged")
        return record

    SkipUnreadable(mapper, [{"ok": True}], tmp_path / "list.txt", limit=1)({})
    assert (tmp_path / "list.txt").read_text() == "a\\udcff.jpg: damaged\n"


def test_other_errors_are_raised(tmp_path: Path) -> None:
    def mapper(record: dict[str, Any]) -> dict[str, Any]:
        raise DataError("x.json: wrong")

    with pytest.raises(DataError, match=r"x\.json: wrong"):
        SkipUnreadable(mapper, RECORDS, tmp_path / "list.txt", limit=9)(RECORDS[0])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["truncated", "bomb"])
def test_training_goes_on_without_a_damaged_image(
    damage: str, workers: int, tiny_config: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items 17 and 18."""
    records = DatasetCatalog.get(tiny_config.DATASETS.TRAIN[0])
    file = tmp_path / "damaged.png"
    if damage == "truncated":
        whole = Path(records[0]["file_name"]).read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    else:
        Image.new("1", (10_000, 9_000)).save(file)  # a few kilobytes
    damaged = [{**records[0], "file_name": str(file)}, records[1]]
    monkeypatch.setattr("unified_seg.data.datasets.alignment.DatasetCatalog.get", lambda name: damaged)
    tiny_config.DATALOADER.NUM_WORKERS = workers
    loader = iter(build_train_loader(tiny_config))
    names = {x["file_name"] for _ in range(3) for x in next(loader)}
    assert names == {records[1]["file_name"]}
    (line,) = (Path(tiny_config.OUTPUT_DIR) / "unreadable.txt").read_text().splitlines()
    assert line.startswith(f"{file}: ")


def test_limit_0_raises_at_the_first_file(
    tiny_config: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = DatasetCatalog.get(tiny_config.DATASETS.TRAIN[0])[0]
    (tmp_path / "text.jpg").write_text("<html>")
    damaged = [{**record, "file_name": str(tmp_path / "text.jpg")}, record]
    monkeypatch.setattr("unified_seg.data.datasets.alignment.DatasetCatalog.get", lambda name: damaged)
    tiny_config.DATASETS.MAX_UNREADABLE = 0
    loader = iter(build_train_loader(tiny_config))
    with pytest.raises(DataError, match=r"text\.jpg: not a readable image"):
        for _ in range(10):
            next(loader)
