"""Generated tables between two markers of a README."""

import pytest

from unified_seg.reporting.errors import ReportingError
from unified_seg.reporting.readme import get_markers, has_markers, replace_table

BEGIN, END = get_markers("table")


def test_table_is_replaced_between_its_own_markers(tmp_path):
    readme = tmp_path / "README.md"
    other = "\n".join(get_markers("table-2"))
    readme.write_text(f"# Title\n{BEGIN}\nold\n{END}\nThe end.\n{other}\n")
    replace_table(readme, "table", "new")
    replace_table(readme, "table", "newer")
    assert readme.read_text() == f"# Title\n{BEGIN}\nnewer\n{END}\nThe end.\n{other}\n"
    assert has_markers(readme, "table-2") and not has_markers(readme, "table-3")


@pytest.mark.parametrize("content", [None, "no markers", f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"])
def test_readme_without_a_place_is_an_error_and_unchanged(tmp_path, content):
    readme = tmp_path / "README.md"
    if content is not None:
        readme.write_text(content)
    with pytest.raises(ReportingError, match=r"README\.md: "):
        replace_table(readme, "table", "text")
    assert content is None or readme.read_text() == content
