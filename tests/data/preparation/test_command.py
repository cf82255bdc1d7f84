from pathlib import Path

import pytest

from unified_seg.data.preparation.command import check_counts, count_files, run_script
from unified_seg.data.problems import DataError


def test_the_arguments_are_passed_and_the_result_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    def prepare(root: Path, workers: int, allow_subset: bool) -> int:
        calls.append((root, allow_subset))
        assert workers >= 1
        return 3 if allow_subset else 0

    run_script(prepare, tmp_path / "default", "About.", [])
    run_script(prepare, tmp_path, "About.", ["--root", str(tmp_path / "x"), "--workers", "2", "--allow-subset"])
    assert calls == [(tmp_path / "default", False), (tmp_path / "x", True)]
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/default: ready, nothing to do", f"{tmp_path}/x: ready, 3 files written",
    ]  # fmt: skip


def test_a_negative_number_of_processes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_script(lambda *_: 0, tmp_path, "About.", ["--workers", "-1"])
    assert "--workers" in capsys.readouterr().err


@pytest.mark.parametrize("error", [DataError("a.png: wrong"), PermissionError("a.png: not allowed")])
def test_an_error_has_no_traceback(error: Exception, tmp_path: Path) -> None:
    def prepare(*_: object) -> int:
        raise error

    with pytest.raises(SystemExit, match=rf"^{type(error).__name__}: a\.png: "):
        run_script(prepare, tmp_path, "About.", [])


def test_wrong_numbers_are_errors_or_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_counts(tmp_path, {"train": (3, 3), "val": (2, 2)}, "get it", allow_subset=False)
    wrong = {"train": (3, 1200), "val": (2, 2), "test": (0, 5)}
    with pytest.raises(DataError, match=r"train: 3 of 1,200; test: 0 of 5; get it; `--allow-subset`"):
        check_counts(tmp_path, wrong, "get it", allow_subset=False)
    check_counts(tmp_path, wrong, "get it", allow_subset=True)
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}: ") and "train: 3 of 1,200; test: 0 of 5; " in message
    with pytest.raises(DataError, match=r"train: 0 of 9; get it$"):
        check_counts(tmp_path, {"train": (0, 9)}, "get it", allow_subset=True)


def test_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / ".b.png.tmp").touch()
    assert count_files(tmp_path, "*.png") == 1
    assert count_files(tmp_path / "nowhere", "*.png") == 0
