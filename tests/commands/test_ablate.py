"""tools/ablate.py: what it runs, skips, resumes and publishes.

The subject is the planner, so the runs are those of a script of a few lines that takes train_net's arguments and writes
its files.
"""

import json
import shutil
import signal
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from processes import Script

from unified_seg.reporting.ablation.results.table import CLASSES, MAIN
from unified_seg.reporting.readme import get_markers
from unified_seg_cli.commands.ablate import main

pytestmark = pytest.mark.end_to_end

# A run's only class is right on (10 * iterations + seed) of 100 pixels in each of 4 images. It stops half way, leaving
# a checkpoint, if there is a file "crash" that is empty or has a part of its path, and waits while there is a file
# "hang".
TRAIN = """
import json, sys, time, zipfile
from array import array
from pathlib import Path

words = sys.argv[1:]
flags = [word for word in words if word in ("--resume", "--eval-only")]
pairs = [word for word in words if word not in flags][2:]
config = dict(zip(pairs[::2], pairs[1::2]))
with open("calls.txt", "a") as calls:
    print(Path(config["OUTPUT_DIR"]).relative_to("output/ablation/p"), *flags, file=calls)
out = Path(config["OUTPUT_DIR"])
dataset = out / "inference" / "v"
dataset.mkdir(parents=True, exist_ok=True)
if "MODEL.WEIGHTS" in config and not Path(config["MODEL.WEIGHTS"]).exists():
    sys.exit("no weights")
if "--eval-only" not in flags:
    # Complete from its first moment, as a training's: an empty one is not resumed.
    (out / "half").write_text("half")
    (out / "half").rename(out / "model_0000001.pth")
    while Path("hang").exists():
        time.sleep(0.05)
    if Path("crash").exists() and Path("crash").read_text() in str(out):
        sys.exit("the disk is full")
    (out / "model_final.pth").write_text("whole")
right = 10 * int(config["SOLVER.MAX_ITER"]) + int(config["SEED"])

# As np.savez does it, but NumPy takes longer to import than all else here.
def write_array(file, name, kind, shape, content):
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\\n"
    file.writestr(f"{name}.npy", b"\\x93NUMPY\\x01\\x00" + len(header).to_bytes(2, "little") + header + content)

with zipfile.ZipFile(dataset / "sem_seg.npz", "w") as file:
    write_array(file, "per_image", "<i8", (4, 3, 1), array("q", 4 * [right, 100, right]).tobytes())
    write_array(file, "image_ids", "<U1", (4,), "abcd".encode("utf-32-le"))
if not Path("earlier").exists():
    matches = 4 * [0.4, 1.0, 1.0, 1.0]  # PQ 0.4 / (1 + (1 + 1) / 2)
    with zipfile.ZipFile(dataset / "panoptic_seg.npz", "w") as file:
        write_array(file, "per_image", "<f8", (4, 4, 1), array("d", matches).tobytes())
        write_array(file, "image_ids", "<U1", (4,), "abcd".encode("utf-32-le"))
pq = None if Path("undefined").exists() else 20.0
results = {"sem_seg": {"mIoU": float(right), "IoU-road": float(right)}, "panoptic_seg": {"PQ": pq}}
(out / "inference" / "results.json").write_text(json.dumps({"results": {"v": results}, "eval_s": 0.0, "train_s": 90.0}))
"""
README = "# p\n" + "\n".join((*get_markers(MAIN), *get_markers(CLASSES), ""))
PLAN = {
    "datasets": {"val": "v"},
    "budget": {"SOLVER.MAX_ITER": 3},
    "seeds": [0, 1],
    "rows": [
        {"name": "Base", "config": "c.yaml"},
        {"name": "More", "config": "c.yaml", "baseline": "Base", "overrides": {"SOLVER.MAX_ITER": 5}},
        {
            "name": "Fused",
            "config": "c.yaml",
            "kind": "evaluate",
            "base": "More",
            "baseline": "More",
            "metrics": ["miou", "pq"],
            "overrides": {"SOLVER.MAX_ITER": 6},
        },
    ],
}


class Repository:
    """A repository with one project, p, whose ablation the tool does."""

    def __init__(self, root: Path):
        self.root = root
        self.project = root / "projects" / "p"
        self.project.mkdir(parents=True)
        (root / "c.yaml").write_text("SOLVER: {IMS_PER_BATCH: 2}\n")
        (root / "train.py").write_text(TRAIN)
        (self.project / "README.md").write_text(README)
        self.write_plan(PLAN)

    def write_plan(self, plan):
        (self.project / "ablation.yaml").write_text(yaml.safe_dump(plan))

    @property
    def archive(self) -> Path:
        return self.project / "runs.zip"

    def forget_runs(self) -> None:
        """Continue on another machine, which has only what is published."""
        shutil.rmtree(self.folder(""))

    def forget_results(self) -> None:
        """Begin anew."""
        self.forget_runs()
        (self.project / "results.json").unlink()
        self.archive.unlink()

    def ablate(self, *arguments: str) -> list[str]:
        """Run the tool; the runs it started, as "row/seed [flag]"."""
        (self.root / "calls.txt").write_text("")
        main(["p", "--device", "cpu", *arguments], self.root, "train.py")
        return self.calls()

    def calls(self) -> list[str]:
        return (self.root / "calls.txt").read_text().splitlines()

    def results(self) -> dict:
        return json.loads((self.project / "results.json").read_text())

    def readme(self) -> str:
        return (self.project / "README.md").read_text()

    def folder(self, run: str) -> Path:
        return self.root / "output" / "ablation" / "p" / run


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_all_rows_and_seeds_run_once(repository):
    calls = repository.ablate()
    assert calls == [f"{row}/seed{seed}{flag}" for seed in (0, 1) for row, flag in
                     (("base", ""), ("more", ""), ("fused", " --eval-only"))]  # fmt: skip
    base, more, fused = repository.results()["rows"]
    assert base["seeds"] == [0, 1] and base["miou"] == [30, 31] and base["train_s"] == [90, 90]
    assert more["miou"] == [50, 51] and more["pq"] == [None, None]
    assert more["difference"]["miou"] == {"mean": 20, "low": 20, "high": 20}  # every image is alike
    assert fused["pq"] == [20, 20] and fused["train_s"] == [0, 0] and fused["iterations"] == 0
    assert repository.results()["budget"] == {"SOLVER.MAX_ITER": 3}
    assert more["iou"] == {"road": [50, 51]}
    assert "| road    | 30.5" in repository.readme() and "| 50.5   |" in repository.readme()
    assert "| More  |" in repository.readme() and "50.50 ± 0.71" in repository.readme()
    assert repository.ablate() == []  # all is done


def test_undefined_scores_are_left_empty(repository):
    (repository.root / "undefined").touch()
    base, more, fused = PLAN["rows"]
    rows = [base, {**more, "metrics": ["miou", "pq"]}, fused]
    repository.write_plan({**PLAN, "seeds": [0], "rows": rows})
    repository.ablate()
    _, more, fused = repository.results()["rows"]
    assert more["pq"] == fused["pq"] == [None] and fused["difference"].keys() == {"seeds", "miou"}
    assert more["miou"] == [50] and "PQ" not in repository.readme()


@pytest.mark.parametrize("bounds", [0, None])
def test_differences_in_pq_have_an_interval_if_the_runs_have_its_counts(bounds, repository):
    if bounds is None:
        (repository.root / "earlier").touch()
    base, more, _ = PLAN["rows"]
    repository.write_plan({**PLAN, "seeds": [0], "metrics": ["miou", "pq"], "rows": [base, more]})
    repository.ablate()
    assert repository.results()["rows"][1]["difference"]["pq"] == {"mean": 0, "low": bounds, "high": bounds}


def test_the_sigterm_handler_is_restored(repository):
    """Children that a later part of the process forks would have the tool's handler, and not end by SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    repository.ablate()
    assert signal.getsignal(signal.SIGTERM) is before


def test_chosen_rows_and_seeds_run_with_their_bases(repository):
    assert repository.ablate("--rows", "fused", "--seeds", "1") == ["more/seed1", "fused/seed1 --eval-only"]
    base, more, fused = repository.results()["rows"]
    assert base["seeds"] == [] and more["difference"] is None and fused["difference"]["seeds"] == [1]
    assert "not run yet" in repository.readme()
    repository.ablate("--seeds", "7", "--rows", "Base")
    assert repository.results()["rows"][2]["seeds"] == [1]  # what was made before stays published
    assert repository.results()["command"] == "python tools/ablate.py p --seeds 1 7 --device cpu"


def test_render_only_needs_only_the_results(repository):
    repository.ablate("--seeds", "0")
    before = repository.readme()
    shutil.rmtree(repository.root / "output")
    (repository.project / "README.md").write_text(README)
    assert repository.ablate("--render-only") == []
    assert repository.readme() == before


def test_an_ablation_is_done_on_several_machines(repository):
    repository.ablate()
    expected = repository.results()
    repository.forget_results()
    repository.ablate("--seeds", "0")
    repository.forget_runs()
    assert repository.ablate("--keep-published") == ["base/seed1", "more/seed1", "fused/seed1 --eval-only"]
    assert repository.results() == expected
    with zipfile.ZipFile(repository.archive) as archive:
        assert {name.rsplit("/", 1)[0] for name in archive.namelist() if "inference" not in name} == {
            f"{row}/seed{seed}" for row in ("base", "more", "fused") for seed in (0, 1)
        }
        assert str(repository.root) not in archive.read("base/seed0/ablation_run.json").decode()


def test_an_archived_run_of_another_config_is_left_out(repository, capsys):
    repository.ablate("--seeds", "0")
    repository.forget_runs()
    changed = {**PLAN["rows"][1], "overrides": {"SOLVER.MAX_ITER": 4}}
    repository.write_plan({**PLAN, "rows": [PLAN["rows"][0], changed, PLAN["rows"][2]]})
    # The third row started from the second.
    assert repository.ablate("--keep-published", "--seeds", "0") == ["more/seed0", "fused/seed0 --eval-only"]
    assert "runs.zip: More, seed 0 is left out: SOLVER.MAX_ITER" in capsys.readouterr().out


def test_an_archived_run_is_not_lost_while_its_scores_stay(repository):
    repository.ablate("--seeds", "0")
    repository.forget_runs()
    before = repository.archive.read_bytes()
    (repository.root / "c.yaml").write_text("SOLVER: {IMS_PER_BATCH: 4}\n")
    with pytest.raises(SystemExit, match=r"More, seed 0 is left out: .*IMS_PER_BATCH.*2 such runs"):
        repository.ablate("--keep-published", "--seeds", "0", "--rows", "Base")
    assert repository.archive.read_bytes() == before
    assert len(repository.ablate("--keep-published", "--seeds", "0")) == 3


def test_the_command_has_the_seeds_of_the_table(repository):
    (repository.root / "crash").touch()
    with pytest.raises(SystemExit):
        repository.ablate("--seeds", "7", "--rows", "Base")
    (repository.root / "crash").unlink()
    repository.ablate("--seeds", "0")
    assert repository.results()["command"].split("--seeds ")[1].split()[:2] == ["0", "--device"]


def test_an_archived_base_is_trained_again_where_its_weights_are_needed(repository):
    repository.ablate("--seeds", "0", "--rows", "More")
    repository.forget_runs()
    (repository.root / "crash").touch()
    for _ in range(2):  # again, after an interruption
        with pytest.raises(SystemExit):
            repository.ablate("--keep-published", "--seeds", "0", "--rows", "Fused")
    (repository.root / "crash").unlink()
    assert repository.ablate("--keep-published", "--seeds", "0") == [
        "base/seed0",
        "more/seed0 --resume",
        "fused/seed0 --eval-only",
    ]


def test_runs_that_start_from_a_base_that_is_trained_again_are_not_taken(repository):
    repository.ablate("--seeds", "0")
    repository.forget_runs()
    last = {**PLAN["rows"][2], "name": "Last", "overrides": {"SOLVER.MAX_ITER": 7}}
    repository.write_plan({**PLAN, "rows": [*PLAN["rows"], last]})
    assert repository.ablate("--keep-published", "--seeds", "0", "--rows", "Last") == [
        "more/seed0",
        "last/seed0 --eval-only",
    ]
    with zipfile.ZipFile(repository.archive) as archive:
        runs = {name.split("/")[0] for name in archive.namelist()}
    assert runs == {"base", "more", "last"}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("ablation_run.json", b"{}"),
        ("inference/results.json", b"[]"),
        ("inference/results.json", b'{"results": {}}'),
        ("inference/v/sem_seg.npz", b"no arrays"),
    ],
)
def test_a_wrong_archived_run_is_left_out(repository, capsys, file, content):
    repository.ablate("--seeds", "0", "--rows", "Base")
    repository.forget_runs()
    with zipfile.ZipFile(repository.archive) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(repository.archive, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, content if name == f"base/seed0/{file}" else data)
    assert repository.ablate("--keep-published", "--seeds", "0", "--rows", "Base") == ["base/seed0"]
    assert "Base, seed 0 is left out: " in capsys.readouterr().out


def test_a_running_training_is_left_alone(repository):
    repository.ablate("--seeds", "0")
    shutil.rmtree(repository.folder("base/seed0"))
    log = repository.folder("base/seed0") / "ablation_log.txt"
    log.parent.mkdir()
    log.write_text("starting")
    repository.ablate("--keep-published", "--seeds", "1", "--rows", "Base")
    assert log.read_text() == "starting" and repository.results()["rows"][0]["seeds"] == [0, 1]


@pytest.mark.parametrize("damage", ["text", "half"])
def test_a_damaged_archive_is_one_line(repository, damage):
    repository.ablate("--seeds", "0")
    repository.forget_runs()
    whole = repository.archive.read_bytes()
    repository.archive.write_bytes(b"no archive" if damage == "text" else whole[:200] + bytes(200) + whole[400:])
    with pytest.raises(SystemExit, match=r"runs\.zip: "):
        repository.ablate("--keep-published", "--seeds", "0")
    assert repository.calls() == []


def test_an_archive_writes_nothing_else(repository):
    repository.ablate("--seeds", "0")
    repository.forget_runs()
    with zipfile.ZipFile(repository.archive, "a") as archive:
        for name in ("../evil", "/evil", "base/seed0/../../evil", "base/seed0/model_final.pth", "base/seed1/evil"):
            archive.writestr(name, "evil")
    repository.ablate("--keep-published", "--seeds", "0", "--rows", "Base")
    assert not [file for file in repository.root.rglob("*") if file.is_file() and b"evil" in file.read_bytes()[:4]]


def test_published_rows_of_another_machine_are_kept_on_request(repository):
    repository.ablate()
    published = repository.results()
    repository.archive.unlink()  # results without it
    # Another machine, which has none of the runs, does one row with one seed, for which there is a new row to compare.
    shutil.rmtree(repository.folder(""))
    more = {"name": "Most", "config": "c.yaml", "baseline": "More", "overrides": {"SOLVER.MAX_ITER": 7}}
    repository.write_plan({**PLAN, "rows": [*PLAN["rows"], more]})
    assert repository.ablate("--keep-published", "--seeds", "1", "--rows", "More", "Most") == [
        "more/seed1",
        "most/seed1",
    ]
    *before, new = repository.results()["rows"]
    assert before == published["rows"]
    assert new["seeds"] == [1] and new["difference"]["miou"]["mean"] == 20
    assert repository.results()["command"].endswith("--seeds 0 1 --device cpu")
    # A row that has changed since is of what was run here.
    (repository.project / "results.json").write_text(json.dumps(published))
    changed = {**PLAN["rows"][1], "overrides": {"SOLVER.MAX_ITER": 4}}
    repository.write_plan({**PLAN, "rows": [PLAN["rows"][0], changed]})
    repository.ablate("--keep-published", "--seeds", "0", "--rows", "More")
    assert [row["seeds"] for row in repository.results()["rows"]] == [[0, 1], [0]]


def test_published_runs_are_not_lost(repository):
    repository.ablate("--rows", "More")
    before = repository.results(), repository.archive.read_bytes()
    repository.forget_runs()
    message = r"results\.json: has More \(seed 0\), More \(seed 1\), but .*`--keep-published`"
    with pytest.raises(SystemExit, match=message):
        repository.ablate("--seeds", "0", "--rows", "Base")
    assert repository.calls() == [] and before == (repository.results(), repository.archive.read_bytes())
    repository.ablate("--keep-published", "--seeds", "0", "--rows", "Base")
    assert [row["seeds"] for row in repository.results()["rows"]] == [[0], [0, 1], []]


@pytest.mark.parametrize("content", ["[]", "{}", '{"rows": [{"name": 1}]}', "half a fi"])
def test_damaged_results_are_one_line(repository, content):
    repository.ablate("--seeds", "0")
    (repository.project / "results.json").write_text(content)
    for arguments in (["--seeds", "0"], ["--render-only"]):
        with pytest.raises(SystemExit, match=r"p/results\.json: "):
            repository.ablate(*arguments)


def test_a_damaged_result_of_a_run_says_what_to_delete(repository):
    repository.ablate("--seeds", "0", "--rows", "Base")
    folder = repository.folder("base/seed0")
    (folder / "inference/results.json").write_text("half")
    with pytest.raises(SystemExit, match=r"results\.json: .*; delete .*base/seed0, so that the run is done again"):
        repository.ablate("--seeds", "0", "--rows", "Base")
    shutil.rmtree(folder)
    assert repository.ablate("--seeds", "0", "--rows", "Base") == ["base/seed0"]


@pytest.mark.parametrize("seed", ["-1", "4294967296", "a"])
def test_seeds_that_a_training_refuses_are_errors(repository, seed, capsys):
    with pytest.raises(SystemExit):
        repository.ablate(f"--seeds={seed}")
    assert "is not a whole number of at least 0 and below 2**32" in capsys.readouterr().err
    assert repository.calls() == []


def test_published_results_of_another_budget_are_refused(repository):
    repository.ablate()
    repository.write_plan({**PLAN, "budget": {"SOLVER.MAX_ITER": 2}})
    with pytest.raises(SystemExit, match=r"results\.json: budget "):
        repository.ablate("--keep-published")
    assert repository.calls() == []


def test_a_failure_shows_the_log_and_is_resumed(repository):
    (repository.root / "crash").touch()
    with pytest.raises(SystemExit) as error:
        repository.ablate("--seeds", "0")
    assert "Base, seed 0: ended with exit status 1" in str(error.value) and "the disk is full" in str(error.value)
    assert str(repository.folder("base/seed0") / "ablation_log.txt") in str(error.value)
    (repository.root / "crash").unlink()
    assert repository.ablate("--seeds", "0", "--rows", "Base") == ["base/seed0 --resume"]
    # Resumed: the script's own account is of the second start alone, so the clock's is taken.
    assert 0 < repository.results()["rows"][0]["train_s"][0] < 60


def test_a_failure_stops_only_the_rows_that_start_from_it(repository, capsys):
    (repository.root / "crash").write_text("more/seed0")
    with pytest.raises(SystemExit) as error:
        repository.ablate("--seeds", "0", "1")
    assert "More, seed 0: ended with exit status 1" in str(error.value)
    assert "Fused, seed 0: not run, since its base failed" in str(error.value)
    assert "More, seed 0: ended with exit status 1; going on with the others" in capsys.readouterr().out
    assert repository.calls() == ["base/seed0", "more/seed0", "base/seed1", "more/seed1", "fused/seed1 --eval-only"]
    assert [row["seeds"] for row in repository.results()["rows"]] == [[0, 1], [1], [1]]


def test_a_terminated_ablation_ends_its_run_and_resumes(repository):
    (repository.root / "hang").touch()
    program = repository.root / "terminated.py"
    program.write_text(
        "from pathlib import Path\nfrom unified_seg_cli.commands.ablate import main\n"
        "main(['p', '--device', 'cpu', '--seeds', '0', '--rows', 'Base'], Path('.').absolute(), 'train.py')\n"
    )
    tool = Script(program, cwd=repository.root)
    checkpoint = repository.folder("base/seed0") / "model_0000001.pth"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    tool.terminate()
    assert "continues from here" in tool.wait().stderr
    (repository.root / "hang").unlink()
    time.sleep(0.2)  # a run that was left behind would now end and write its last checkpoint
    assert not checkpoint.with_name("model_final.pth").exists()
    assert repository.ablate("--rows", "Base", "--seeds", "0") == ["base/seed0 --resume"]


def test_a_changed_config_runs_again(repository, capsys):
    repository.ablate("--seeds", "0")
    repository.write_plan({**PLAN, "budget": {"SOLVER.MAX_ITER": 3, "SOLVER.BASE_LR": 0.5}})
    # The kept runs' new bases make the evaluated row another one too.
    assert repository.ablate("--seeds", "0") == ["base/seed0", "more/seed0", "fused/seed0 --eval-only"]
    assert "SOLVER.BASE_LR was 0.001, is 0.5" in capsys.readouterr().out
    assert (repository.folder("base/seed0.old1") / "model_final.pth").exists()
    assert repository.results()["rows"][0]["seeds"] == [0]


def test_changed_data_run_again(repository, capsys):
    repository.ablate("--seeds", "0", "--rows", "Base")
    path = repository.folder("base/seed0") / "ablation_run.json"
    record = json.loads(path.read_text())
    assert record["config"]["toyscapes"] is None  # the plan leaves the data to the user
    record["config"]["toyscapes"] = {"version": "0"}
    path.write_text(json.dumps(record))
    assert repository.ablate("--seeds", "0", "--rows", "Base") == ["base/seed0"]
    assert "toyscapes was" in capsys.readouterr().out


def test_photographs_are_reported_on_test_and_checked_first(repository, forget_datasets):
    for name, records in {"v": [{}] * 4, "chosen_on": [{}] * 2}.items():
        DatasetCatalog.register(name, records.copy)
        MetadataCatalog.get(name)
    # The script's scores are of "v" alone, so no row has one on the other set.
    plan = {**PLAN, "datasets": {"test": "v"}, "images": {"v": 4, "chosen_on": 2}}
    repository.write_plan(plan)
    repository.ablate("--seeds", "0")
    assert repository.results()["data"]["images"] == {"v": 4, "chosen_on": 2}
    assert "- Data: `v`; images: 2 in `chosen_on`, 4 in `v`" in repository.readme()
    assert repository.results()["rows"][1]["difference"]["miou"]["mean"] == 20
    repository.write_plan({**plan, "images": {"v": 5}})
    with pytest.raises(SystemExit, match=r"images: v has 4 images, expected 5"):
        repository.ablate("--seeds", "0")
    repository.write_plan({**plan, "images": {"unified_nuclei_vol": 5}})
    with pytest.raises(SystemExit, match=r"unknown data set 'unified_nuclei_vol'"):
        repository.ablate("--seeds", "0")
    assert repository.calls() == []


def test_a_retrained_base_is_evaluated_again(repository):
    repository.ablate("--seeds", "0")
    shutil.rmtree(repository.folder("more/seed0"))
    assert repository.ablate("--seeds", "0") == ["more/seed0", "fused/seed0 --eval-only"]


def test_added_and_removed_config_keys_keep_a_run(repository):
    repository.ablate("--seeds", "0")
    path = repository.folder("base/seed0") / "ablation_run.json"
    record = json.loads(path.read_text())
    record["config"]["A.KEY.OF.LAST.YEAR"] = 1
    del record["config"]["SOLVER.MOMENTUM"]
    path.write_text(json.dumps(record))
    assert repository.ablate("--seeds", "0") == []


def test_contradictory_results_are_refused(repository):
    repository.ablate("--seeds", "0")
    path = repository.folder("base/seed0") / "inference" / "results.json"
    path.write_text(path.read_text().replace("30.0", "33.0"))
    with pytest.raises(SystemExit, match=r"sem_seg\.npz: .*30\.0000.* 33\.0"):
        repository.ablate("--seeds", "0")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda r: (r.project / "README.md").unlink(), r"README\.md: no such file"),
        (lambda r: (r.project / "README.md").write_text("# p"), r"README\.md: .*<!-- ablation:begin -->"),
        (lambda r: (r.root / "c.yaml").write_text("SOLVER: {MAX_ITERS: 2}"), r"MAX_ITERS"),
        (lambda r: (r.root / "c.yaml").unlink(), "c.yaml is not a file"),
        (lambda r: (r.project / "ablation.yaml").unlink(), r"ablation\.yaml: no such file"),
    ],
)
def test_errors_of_the_plan_are_reported_before_the_first_run(repository, break_it, message):
    break_it(repository)
    with pytest.raises(SystemExit, match=message):
        repository.ablate()
    assert repository.calls() == []


def test_an_unknown_row_is_refused_with_the_known_ones(repository):
    with pytest.raises(SystemExit, match=r"p/ablation\.yaml: .*'asp'.*'Base' \(base\)"):
        repository.ablate("--rows", "asp")
