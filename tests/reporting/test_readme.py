import pytest

from unified_seg.reporting.readme import markers, put_into

BEGIN, END = markers("table")


def test_put_between_the_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{BEGIN}\nold\n{END}\nThe end.\n")
    put_into(readme, "new", "table")
    put_into(readme, "newer", "table")
    assert readme.read_text() == f"# Title\n{BEGIN}\nnewer\n{END}\nThe end.\n"


@pytest.mark.parametrize("content", [None, "no markers", f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"])
def test_no_place_for_the_table(tmp_path, content):
    readme = tmp_path / "README.md"
    if content is not None:
        readme.write_text(content)
    with pytest.raises(ValueError, match=r"README\.md: "):
        put_into(readme, "text", "table")
    assert content is None or readme.read_text() == content


def test_tables_have_places_of_their_own(tmp_path):
    readme = tmp_path / "README.md"
    other_begin, other_end = markers("table-2")
    readme.write_text(f"{BEGIN}\n{END}\n{other_begin}\n{other_end}\n")
    put_into(readme, "new", "table-2")
    assert readme.read_text() == f"{BEGIN}\n{END}\n{other_begin}\nnew\n{other_end}\n"
