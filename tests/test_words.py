import pytest

from unified_seg.words import join_some


@pytest.mark.parametrize(
    ("items", "most", "expected"),
    [
        ([], 2, ""),
        (["a"], 2, "a"),
        (["a", 2], 2, "a, 2"),
        (dict.fromkeys("abcd"), 2, "a, b and 2 more"),
        (iter("abc"), 2, "a, b and 1 more"),
    ],
)
def test_first_items_are_named_and_the_others_counted(items, most, expected):
    assert join_some(items, most) == expected
