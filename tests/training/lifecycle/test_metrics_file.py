import json
import tempfile
from pathlib import Path

from detectron2.utils.events import EventStorage
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.training.lifecycle.metrics_file import MetricsFile, drop_lines_from, has_value

LINES = [json.dumps({"iteration": i, "loss": 0.5}) for i in (19, 39, 59)]


def iterations(file: Path) -> list[int]:
    return [json.loads(line)["iteration"] for line in file.read_text().splitlines()]


@given(cut=st.integers(0, 200), iteration=st.integers(0, 70))
@settings(max_examples=30, deadline=None)
def test_lines_of_steps_that_are_done_again_and_cut_lines_are_dropped(cut: int, iteration: int) -> None:
    text = "\n".join(LINES) + "\n"
    file = Path(tempfile.mkdtemp()) / "metrics.json"
    file.write_text(text[:cut])
    whole = [line for line in text[:cut].split("\n") if line in LINES]
    drop_lines_from(file, iteration)
    assert file.read_text() == "".join(f"{line}\n" for line in whole if json.loads(line)["iteration"] < iteration)


def test_the_file_is_opened_by_the_first_write_and_has_the_id(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_text(LINES[0] + "\n")
    writer = MetricsFile(file, "a" * 16)
    drop_lines_from(file, 10)  # replaces the file
    with EventStorage(10) as storage:
        storage.put_scalars(loss=1.0, accuracy=2.0)
        writer.write()
        writer.write()
        storage.iter = 11
        storage.put_scalar("loss", 3.0)
        writer.write()
    writer.close()
    assert iterations(file) == [10, 11]
    assert {json.loads(line)["run"] for line in file.read_text().splitlines()} == {"a" * 16}
    assert has_value(file, "accuracy", 10) and not has_value(file, "accuracy", 11)


def test_the_table_has_a_column_for_each_metric_and_follows_a_resumed_run(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    expected = "iteration,loss\n19,3.0\n39,2.0\n", "iteration,loss,score\n19,3.0,\n39,1.5,\n59,1.0,7.0\n"
    for start, values, text in ((0, [3.0, 2.0], expected[0]), (20, [1.5, 1.0], expected[1])):
        drop_lines_from(file, start)
        writer = MetricsFile(file, "a" * 16)
        with EventStorage(start) as storage:
            for number, loss in enumerate(values):
                storage.iter = start + 20 * number + 19
                storage.put_scalar("loss", loss, smoothing_hint=False)
                if storage.iter == 59:
                    storage.put_scalar("score", 7.0, smoothing_hint=False)
                writer.write()
        assert (tmp_path / "metrics.csv").read_text() == text


def test_a_file_of_junk_becomes_empty(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_bytes(b'\xff\n[1]\n{"iteration": "x"}\n{"loss": 1}\n')
    drop_lines_from(file, 5)
    assert file.read_bytes() == b""
    drop_lines_from(tmp_path / "nowhere.json", 5)
    assert not has_value(tmp_path / "nowhere.json", "loss", 1)
