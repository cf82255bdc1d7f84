import time

import pytest
import yaml

from unified_seg_files.yaml_text import MAX_DEPTH, YamlError, parse_yaml


def nested_aliases(levels: int, width: int = 10) -> str:
    lines = ["a0: &a0 [x]"]
    for level in range(levels):
        lines.append(f"a{level + 1}: &a{level + 1} [{', '.join([f'*a{level}'] * width)}]")
    return "\n".join(lines)


def test_plain_values_anchors_and_merges_are_read() -> None:
    text = "a: &a {b: 1, c: [x, 2.5, null, true]}\nd: *a\ne: {<<: *a, b: 2}"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml(nested_aliases(3))["a3"][0][0][0] == ["x"]
    assert parse_yaml("") is None
    # A key of another mapping, of another type, and a value that is as a key.
    assert parse_yaml("a: {a: 1}\nb: {a: b}\n1: x\n'1': y") == {"a": {"a": 1}, "b": {"a": "b"}, 1: "x", "1": "y"}


@pytest.mark.parametrize(
    "text",
    [
        nested_aliases(9),
        "a: &a [x]\nb: &b {<<: [" + "*a, " * 10 + "]}\nc: [" + "*b, " * 10 + "]",
        "a: &a [*a]",
        "a: &a {b: {c: *a}}",
        "[" * 500 + "]" * 500,
        "- " * 500 + "x",
        "a: " + ":".join(["1", *["59"] * 200_000]),
        "a: !!python/object/apply:os.system [id]",
        "a: !!python/name:os.system ''",
        "a: !!timestamp abc",
        "a: !!bool x",
        "a: !!int abc",
        "a: 2001-99-99",
        "a: " + "1" * 5000,
        "? [1]\n: 2",
        "a: *unknown",
        "--- 1\n--- 2",
        "a: \ud800",
        "a: [",
        "a: 1\nb: 2\na: 3",
        "a: {b: 1, c: {}, b: [2]}",
        "\x00",
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_other_texts_are_refused_at_once_on_one_line(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(YamlError) as error:
        parse_yaml(text)
    assert time.perf_counter() - start < 1
    assert str(error.value) and "\n" not in str(error.value)


def test_depth_up_to_the_limit_is_read() -> None:
    parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(YamlError, match="levels"):
        parse_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
