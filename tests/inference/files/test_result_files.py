from pathlib import Path

from unified_seg.inference.files.result_files import ResultFiles


def test_missing_files_and_those_of_other_images_are_found(tmp_path: Path) -> None:
    for name in ("semantic/a.png", "semantic/b/c.d.png", "json/a.json", "json/x/y.json", "json/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = ResultFiles(tmp_path, {"semantic": ".png", "json": ".json"})
    assert files.has_all("a") and not files.has_all("b/c.d") and not files.has_all("e")
    assert sorted(files.find_others(["a", "b/c.d"])) == ["json/x/y.json"]
    assert sorted(files.find_others([])) == ["json/a.json", "json/x/y.json", "semantic/a.png", "semantic/b/c.d.png"]
    assert ResultFiles(tmp_path, {}).has_all("e") and not list(ResultFiles(tmp_path, {}).find_others([]))
