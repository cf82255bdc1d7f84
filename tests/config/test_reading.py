import ast
import json
import re
import shlex
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import CfgNode, get_cfg
from example_heads import remove_outside_keys

import unified_seg
from unified_seg.config import ConfigError, add_unified_seg_config, get_config, get_value, load_config, merge_file

SOURCE = Path(unified_seg.__file__).parent
#: The files that define keys.
KEY_FILES = [SOURCE / "config/keys.py", *SOURCE.glob("heads/*/keys.py")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The top folder of somebody's project."""
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    return root


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def nested(key: str, value: str) -> str:
    """Return yaml that gives a dotted key a value."""
    for part in reversed(key.split(".")):
        value = f"{{{part}: {value}}}"
    return value


def leaves(node: CfgNode, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, CfgNode) else {f"{prefix}{key}": value}
    return found


def project_keys() -> set[str]:
    """Without those of Detectron2's DeepLab alone, which `get_config` has too, and those of heads of other tests."""
    cfg = get_cfg()
    add_unified_seg_config(cfg)
    return leaves(remove_outside_keys(cfg)).keys() - leaves(get_cfg()).keys()


def attributes_read() -> set[str]:
    """Return every attribute that the library reads outside the files that define keys."""
    found = set()
    for file in set(SOURCE.rglob("*.py")) - {*KEY_FILES}:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
    return found


def test_every_key_is_read() -> None:
    read = attributes_read()
    assert project_keys()
    assert [key for key in project_keys() if key.split(".")[-1] not in read] == []


def test_every_key_has_a_comment() -> None:
    assigned, without_comment = Counter(), []
    for file in KEY_FILES:
        lines = file.read_text(encoding="utf-8").splitlines()
        for before, line in pairwise(lines):
            if found := re.match(r"    (?:cfg|node|head)\.(?:\w+\.)*([A-Z_]+) = (?!CfgNode|cfg\.)", line):
                assigned[found[1]] += 1
                if not before.strip().startswith("#"):
                    without_comment.append(line)
    # Detectron2's, with another default or more values.
    theirs = ["DEVICE", "FORMAT", "CLIP_TYPE", "LR_SCHEDULER_NAME", "WARMUP_ITERS", "EVAL_PERIOD", "VIS_PERIOD"]
    assert assigned == Counter([*(key.split(".")[-1] for key in project_keys()), *theirs])
    assert without_comment == []


def test_defaults_are_those_of_the_papers() -> None:
    cfg = get_config()
    head = cfg.MODEL.SEM_SEG_HEAD
    assert head.ASP_REFINEMENT == {"ASP": True, "RATES": [6, 12, 18], "BRANCH_DIM": 128, "REFINEMENT": True}
    assert (head.CONVS_DIM, head.NORM, head.COMMON_STRIDE, cfg.SOLVER.POLY_LR_POWER) == (128, "GN", 4, 0.9)
    assert cfg.MODEL.UNIFIED.OUTPUT == "detectron2"


def test_empty_path_gives_the_defaults() -> None:
    assert load_config("") == get_config()


def test_values_of_wrong_types_are_named_with_their_file(folder: Path) -> None:
    file = write(folder / "x.yaml", "SOLVER: {MAX_ITER: many}")
    with pytest.raises(ConfigError, match=r"x\.yaml: .*SOLVER\.MAX_ITER"):
        load_config(file)
    with pytest.raises(ConfigError, match=r"command line: SOLVER\.MAX_ITER many"):
        load_config("", ["SOLVER.MAX_ITER", "many"])
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        load_config(write(file, "MODEL:"))


def test_later_settings_win(folder: Path) -> None:
    write(folder / "a.yaml", "SOLVER: {MAX_ITER: 1, BASE_LR: 0.1, GAMMA: 0.5, STEPS: [1, 2]}")
    write(folder / "b.yaml", "SOLVER: {MAX_ITER: 2, BASE_LR: 0.2, STEPS: [3]}")
    file = write(folder / "configs/c.yaml", "_BASE_: [../a.yaml, ../b.yaml]\nSOLVER: {MAX_ITER: 3}")
    solver = load_config(file, ["SOLVER.IMS_PER_BATCH", "5"]).SOLVER
    assert (solver.MAX_ITER, solver.BASE_LR, solver.GAMMA, solver.IMS_PER_BATCH) == (3, 0.2, 0.5, 5)
    assert solver.STEPS == (3,)
    assert load_config(file, ["SOLVER.MAX_ITER", "4", "SOLVER.MAX_ITER", "6"]).SOLVER.MAX_ITER == 6
    swapped = write(folder / "configs/d.yaml", "_BASE_: [../b.yaml, ../a.yaml]")
    assert load_config(swapped).SOLVER.BASE_LR == 0.1


def test_bases_may_have_bases_and_share_one(folder: Path) -> None:
    write(folder / "root.yaml", "SEED: 7")
    write(folder / "a.yaml", "_BASE_: root.yaml\nSOLVER: {MAX_ITER: 1}")
    write(folder / "b.yaml", "_BASE_: root.yaml\nSOLVER: {BASE_LR: 0.2}")
    cfg = load_config(write(folder / "c.yaml", "_BASE_: [a.yaml, b.yaml]"))
    assert (cfg.SEED, cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (7, 1, 0.2)


def test_fragments_of_this_project_are_a_base_for_everyone(folder: Path) -> None:
    base = SOURCE.parent / "configs/base/unified_fpn.yaml"
    cfg = load_config(write(folder / "mine.yaml", f"_BASE_: {base}"))
    assert cfg.MODEL.META_ARCHITECTURE == "UnifiedSegmentor"


def test_dumped_config_is_read_again(tiny_config: CfgNode, folder: Path) -> None:
    file = write(folder / "config.yaml", tiny_config.dump())
    # Compared as JSON, which knows no tuples: yaml brings those inside others back as lists.
    assert json.dumps(leaves(load_config(file))) == json.dumps(leaves(tiny_config))


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("MODEL.UNIFIED.OUTPT", "did you mean `MODEL.UNIFIED.OUTPUT`"),
        ("SOLVER.BASE_RL", "did you mean `SOLVER.BASE_LR`"),
        ("MODEL.SEM_SEG_HEAD.ASP_REFINEMENT.RATE", "did you mean `MODEL.SEM_SEG_HEAD.ASP_REFINEMENT.RATES`"),
    ],
)
def test_unknown_keys_are_errors_with_a_hint(key: str, hint: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"command line: .*{key}; {hint}"):
        load_config("", [key, "1"])
    with pytest.raises(ConfigError, match=rf"x\.yaml: .*{key}; {hint}"):
        load_config(write(folder / "x.yaml", nested(key, "1")))


@pytest.mark.parametrize("prefix", ["", "STAGES.first."])
@pytest.mark.parametrize(
    ("name", "accepted", "other"),
    [
        ("MODEL.PANOPTIC_FUSION.FOUND_SCORE_FACTOR", "0", "0.5"),
        ("MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.GATE", "sigmoid", "relu"),
        ("MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.SPARSE", "True", "GN"),
        ("MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.SPARSE", "False", "GN"),
    ],
)
def test_removed_keys_are_accepted_with_values_without_effect(
    name: str, accepted: str, other: str, prefix: str, folder: Path
) -> None:
    key = prefix + name
    for cfg in (load_config(write(folder / "old.yaml", nested(key, accepted))), load_config("", [key, accepted])):
        assert leaves(cfg) == leaves(get_config())
    with pytest.raises(ConfigError, match=rf"other\.yaml: {key} .*removed"):
        load_config(write(folder / "other.yaml", nested(key, other)))
    with pytest.raises(ConfigError, match=f"command line: {key} .*removed"):
        load_config("", [key, other])


@pytest.mark.parametrize("key", ["NOTHING_LIKE_IT", "MODEL.DEVICE.NAME", "1"])
def test_unknown_keys_without_a_hint_are_errors(key: str) -> None:
    with pytest.raises(ConfigError, match=f"command line: .*{key}"):
        load_config("", [key, "1"])


def test_overrides_must_be_pairs() -> None:
    with pytest.raises(ConfigError, match=r"command line: .*SEED=1"):
        load_config("", ["SEED=1"])
    with pytest.raises(ConfigError, match="command line: --resume"):
        load_config("", ["SEED", "1", "--resume"])


#: Values of wrong types, and those that the hint suggests, None without a hint.
MISTYPED = [
    ("SOLVER.STEPS", "100", (100,)),
    ("SOLVER.STEPS", "['100']", (100,)),
    ("SOLVER.STEPS", "(100.0, 200.0)", (100, 200)),
    ("SOLVER.STEPS", "[100, 200", (100, 200)),
    ("SOLVER.STEPS", "(0.5,)", None),
    ("SOLVER.STEPS", "None", None),
    ("SOLVER.MAX_ITER", "1e3", 1000),
    ("SOLVER.MAX_ITER", "1.5", None),
    ("SOLVER.MAX_ITER", "None", None),
    ("SOLVER.MAX_ITER", "True", None),
    ("SOLVER.BASE_LR", "'0.01'", 0.01),
    ("SOLVER.BASE_LR", "(0.01,)", 0.01),
    ("SOLVER.BASE_LR", "[0.1, 0.2]", None),
    ("SOLVER.WEIGHT_DECAY_BIAS", "x", None),
    ("MODEL.MASK_ON", "false", False),
    ("MODEL.MASK_ON", "1", True),
    ("MODEL.WEIGHTS", "None", ""),
    ("DATASETS.TEST", "a", ("a",)),
    ("DATASETS.TEST", "a, b", ("a", "b")),
    ("DATASETS.TEST", "[a,b]", ("a", "b")),
    ("DATASETS.TEST", "[3]", ("3",)),
    ("DATASETS.CUSTOM", "{'NAME': 'a'}", [{"NAME": "a"}]),
    ("TEST.AUG.SCALES", "1", [1]),
    ("TEST.AUG.SCALES", "['0.5', '1']", [0.5, 1]),
    ("TEST.EXPORT", "coco_panoptic", ["coco_panoptic"]),
    ("MODEL.ANCHOR_GENERATOR.SIZES", "[32, 64]", [[32, 64]]),
    ("MODEL.ROI_HEADS.IOU_THRESHOLDS", "0.5", [0.5]),
    ("INPUT.CROP.SIZE", "(True, True)", None),
    ("SOLVER", "5", None),
    ("STAGES.a.SOLVER.STEPS", "100", (100,)),
]


@pytest.mark.parametrize(("key", "text", "meant"), MISTYPED)
def test_value_of_a_wrong_type_is_an_error_with_a_hint_that_works(
    key: str, text: str, meant: Any, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=f"^command line: {re.escape(f'{key} {text}')}: ") as error:
        load_config("", [key, text])
    hint = re.search("write `(.+)`$", str(error.value))
    assert (hint is None) == (meant is None)
    if hint is not None:
        value = get_value(load_config("", shlex.split(hint[1])), key)
        assert (value, type(value)) == (meant, type(meant))

    nodes = key.split(".")[:-1]
    file = write(folder / "x.yaml", nested(key, json.dumps(text)))
    with pytest.raises(ConfigError, match=rf"x\.yaml: {re.escape(key)}: ") as error:
        load_config(file)
    hint = re.search("write `(.+)`$", str(error.value))
    assert (hint is None) == (meant is None)
    if hint is not None:
        line = "".join(f"{'  ' * depth}{node}:\n" for depth, node in enumerate(nodes)) + "  " * len(nodes) + hint[1]
        assert get_value(load_config(write(file, line)), key) == meant


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("OUTPUT_DIR", "2024", "2024"),
        ("OUTPUT_DIR", "'2024'", "2024"),
        ("SOLVER.BASE_LR", "1", 1.0),
        ("SOLVER.STEPS", "100,200", (100, 200)),
        ("SOLVER.STEPS", "[]", ()),
        ("INPUT.CROP.SIZE", "[512, 512]", [512, 512]),
        ("SOLVER.WEIGHT_DECAY_BIAS", "0", 0),
        ("SOLVER.WEIGHT_DECAY_BIAS", "None", None),
    ],
)
def test_value_whose_meaning_is_plain_is_accepted(key: str, text: str, value: Any, folder: Path) -> None:
    for cfg in (load_config("", [key, text]), load_config(write(folder / "x.yaml", nested(key, json.dumps(text))))):
        found = get_value(cfg, key)
        assert (found, type(found)) == (value, type(value))


def test_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(folder / "absent.yaml")
    file = write(folder / "x.yaml", "_BASE_: absent.yaml")
    with pytest.raises(ConfigError, match=r"x\.yaml: _BASE_ absent\.yaml"):
        load_config(file)


PAYLOADS = [
    "SEED: !!python/object/apply:os.system ['touch {marker}']",
    "SEED: !!python/object/apply:eval [\"open('{marker}', 'w')\"]",
    "SEED: !!python/object/new:subprocess.Popen [[touch, '{marker}']]",
    "SEED: !!python/name:os.system",
    "SEED: !!python/module:os",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_python_tags_of_a_file_are_refused(payload: str, folder: Path) -> None:
    marker = folder / "executed"
    file = write(folder / "x.yaml", payload.format(marker=marker))
    for path in (file, write(folder / "y.yaml", "_BASE_: x.yaml")):
        with pytest.raises(ConfigError, match=r"x\.yaml.*plain yaml"):
            load_config(path)
    assert not marker.exists()


def test_values_are_not_evaluated(folder: Path) -> None:
    marker = folder / "executed"
    text = f"open('{marker}', 'w')"
    file = write(folder / "x.yaml", f'OUTPUT_DIR: "{text}"')
    folders = [load_config("", ["OUTPUT_DIR", text]).OUTPUT_DIR, load_config(file).OUTPUT_DIR]
    assert folders == [text, text]
    assert not marker.exists()


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("http://127.0.0.1:9/x.yaml", "must be a local file"),
        ("detectron2://x.yaml", "must be a local file"),
        ("file:///etc/passwd", "must be a local file"),
        ("/etc/passwd", "points outside"),
        ("../../outside.yaml", "points outside"),
        ("sub/../../../outside.yaml", "points outside"),
        ("link.yaml", "points outside"),
        ("~/outside.yaml", "points outside"),
        ("5", "must be a file name or a list"),
        ("{a: b}", "must be a file name or a list"),
        ("[5]", "must be a file name or a list"),
    ],
)
def test_bases_outside_the_project_are_refused(
    base: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = write(folder.parent / "outside.yaml", "SEED: 1")
    monkeypatch.setenv("HOME", str(folder.parent))
    (folder / "configs/link.yaml").symlink_to(outside)
    file = write(folder / "configs/x.yaml", f"_BASE_: {base}")
    with pytest.raises(ConfigError, match=rf"x\.yaml: _BASE_ .*{message}"):
        load_config(file)


@pytest.mark.parametrize(
    "files",
    [
        {"a.yaml": "a.yaml"},
        {"a.yaml": "b.yaml", "b.yaml": "a.yaml"},
        {"a.yaml": "b.yaml", "b.yaml": "c.yaml", "c.yaml": "configs/../b.yaml"},
    ],
)
def test_cycle_of_bases_is_an_error(files: dict[str, str], folder: Path) -> None:
    for name, base in files.items():
        write(folder / name, f"_BASE_: {base}")
    with pytest.raises(ConfigError, match=r"\.yaml: _BASE_ .* itself"):
        load_config(folder / "a.yaml")


@pytest.mark.parametrize(("text", "message"), [("[1, 2]", "got a list"), ("word", "got a str"), ("a: [", "plain yaml")])
def test_file_without_keys_and_values_is_an_error(text: str, message: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=rf"x\.yaml.*{message}"):
        load_config(write(folder / "x.yaml", text))


def test_binary_file_is_an_error(folder: Path) -> None:
    (folder / "x.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match=r"x\.yaml.*plain yaml"):
        merge_file(get_config(), folder / "x.yaml")


def test_empty_file_changes_nothing(folder: Path) -> None:
    assert load_config(write(folder / "x.yaml", "# nothing\n")) == get_config()


def test_small_files_that_mean_more_than_memory_holds_are_refused(folder: Path) -> None:
    aliases = ["A: &a0 [x]", *(f"A{n}: &a{n} [{f'*a{n - 1}, ' * 10}]" for n in range(1, 10))]
    for text in ("\n".join(aliases), "MODEL: &a {X: *a}", "A: " + "[" * 900 + "]" * 900, "A: !!timestamp x"):
        with pytest.raises(ConfigError, match=r"a\.yaml"):
            merge_file(get_config(), write(folder / "a.yaml", text))
    with pytest.raises(ConfigError, match=r"a\.json"):
        merge_file(get_config(), write(folder / "a.json", '{"MODEL":' * 900 + "1" + "}" * 900))
    with pytest.raises(ConfigError, match=r"b\.yaml.*limit"):
        merge_file(get_config(), write(folder / "b.yaml", "#" * 4_000_001))
    with pytest.raises(ConfigError, match=r"SEED"):
        merge_file(get_config(), write(folder / "c.yaml", f"SEED: '{'(' * 100_000}'"))


def test_bases_that_double_at_each_level_are_refused(folder: Path) -> None:
    write(folder / "0.yaml", "SEED: 1")
    for level in range(1, 40):
        write(folder / f"{level}.yaml", f"_BASE_: [{level - 1}.yaml, {level - 1}.yaml]")
    with pytest.raises(ConfigError, match=r"_BASE_.*100 files"):
        merge_file(get_config(), folder / "39.yaml")
