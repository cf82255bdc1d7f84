from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from unified_seg_cli import ToolParser, types


@pytest.fixture
def parser() -> ToolParser:
    parser = ToolParser("Does\n    things.")
    parser.add_config_file()
    parser.add_output()
    parser.add_workers()
    parser.add_alias("--num", parser.add_count("--num-images", "images to draw", default=3))
    parser.add_overrides()
    return parser


REQUIRED = ["--config-file", "c.yaml", "--output", "out"]


@pytest.mark.parametrize(
    "words",
    [
        [*REQUIRED, "SEED", "1", "MODEL.WEIGHTS", "w"],
        [*REQUIRED, "--opts", "SEED", "1", "MODEL.WEIGHTS", "w"],
        ["--opts", "SEED", "1", "MODEL.WEIGHTS", "w", *REQUIRED],
        ["SEED", "1", "MODEL.WEIGHTS", "w", *REQUIRED],
        ["--opts", "SEED", "1", *REQUIRED, "--opts", "MODEL.WEIGHTS", "w"],
        ["--opts", "SEED", "1", *REQUIRED, "MODEL.WEIGHTS", "w"],
        [*REQUIRED, "SEED", "1", "--opts", "MODEL.WEIGHTS", "w"],
    ],
)
def test_overrides_in_any_form_and_place_are_the_same(parser, words):
    args = parser.parse_args(words)
    assert args.opts == ["SEED", "1", "MODEL.WEIGHTS", "w"]
    assert (args.config_file, args.output, args.num_images) == ("c.yaml", Path("out"), 3)


@pytest.mark.parametrize("value", ["-1", "-0.5", "-1e-5", "-2.", "-.5E+3"])
@pytest.mark.parametrize("option", [[], ["--opts"]])
def test_negative_numbers_are_values(parser, option, value):
    assert parser.parse_args([*REQUIRED, *option, "SOLVER.BASE_LR", value]).opts == ["SOLVER.BASE_LR", value]


@pytest.mark.parametrize("overrides", [["MODEL.DEVICE", "cpu"], ["SEED", "3", "MODEL.WEIGHTS", "w"]])
@pytest.mark.parametrize("option", [[], ["--opts"]])
def test_overrides_after_an_option_of_many_values_are_no_values_of_it(parser, option, overrides):
    parser.add_image_source()
    assert (args := parser.parse_args([*REQUIRED, "--input", "a.png", "b", *option, *overrides])).opts == overrides
    assert args.input == ["a.png", "b"]


def test_an_image_named_as_a_config_key_is_an_image(parser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("TEST.JPG").touch()
    parser.add_image_source()
    assert parser.parse_args([*REQUIRED, "--input", "DSC.JPG", "TEST.JPG"]).input == ["DSC.JPG", "TEST.JPG"]


def test_without_overrides_there_are_none(parser):
    assert parser.parse_args(REQUIRED).opts == [] == parser.parse_args(REQUIRED).opts


def test_an_alias_works_and_is_not_in_the_help(parser):
    assert parser.parse_args([*REQUIRED, "--num", "5"]).num_images == 5
    text = parser.format_help()
    assert "--num-images N" in text and "--num N" not in text and "Does\n    things." in text


def test_a_wrong_value_names_the_option(parser, capsys):
    with pytest.raises(SystemExit) as end:
        parser.parse_args([*REQUIRED, "--num-images", "0"])
    assert end.value.code == 2 and "--num-images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (types.positive_int, "12", 12),
        (types.non_negative_int, "0", 0),
        (types.worker_count, "0", 1),
        (types.worker_count, "4", 4),
        (types.fraction, "0", 0.0),
        (types.fraction, "1e-3", 0.001),
        (types.image_size, "128x256", (128, 256)),
        (types.device, "cuda:1", "cuda:1"),
    ],
)
def test_values_are_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (types.positive_int, "0"),
        (types.positive_int, "1.5"),
        (types.non_negative_int, "-1"),
        (types.worker_count, "-1"),
        (types.fraction, "1.1"),
        (types.fraction, "nan"),
        (types.fraction, "half"),
        (types.image_size, "128"),
        (types.image_size, "0x256"),
        (types.device, "gpu"),
    ],
)
def test_values_out_of_range_are_refused(read, text):
    with pytest.raises(ArgumentTypeError, match=f"got '{text}'"):
        read(text)


def test_a_model_comes_from_weights_or_a_config(capsys):
    parser = ToolParser()
    parser.add_model_source()
    assert parser.parse_args(["--weights", "a.pth"]).config_file == ""
    assert parser.parse_args(["--config-file", "a.yaml"]).weights == ""
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "--weights --config-file" in capsys.readouterr().err
