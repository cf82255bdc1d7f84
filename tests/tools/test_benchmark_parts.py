"""The sub-commands of tools/benchmark.py that measure parts: what they print, their inputs, and that equality can fail.

Sizes are tiny; the promises of the inputs at full size are checked at full size, where that is cheap.
"""

import json
from functools import partial
from pathlib import Path

import compiled_loop
import cv2
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.end_to_end

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SIZE = (96, 192)
FEW = ["--images", "6", "--objects", "30", "--detections", "60", "--classes", "3"]
PARTS = ("fusion", "argmax", "post", "semantic_eval", "panoptic_eval", "infer")


@pytest.fixture
def no_memory(benchmark_tool, monkeypatch):
    """Without the processes that measure memory: they import everything anew, and the harness' tests have them."""
    monkeypatch.setattr(benchmark_tool.harness, "peak_on_cpu", lambda prepare, threads: None)


def first_comparison(benchmark_tool, part, *arguments):
    args = benchmark_tool.benchmark.parse_args([part.replace("_", "-"), "--size", "96x192", *arguments])
    return args.command.make_comparisons(args)[0]


@pytest.mark.parametrize(
    ("command", "names", "words"),
    [
        (
            ["fusion", "--instances", "6"],
            [
                "fusion, semantic-guided",
                "fusion, semantic-guided, RLE peer",
                *["fusion, by evidence"] * 2,
                "filling alone",
            ],
            "pixels to fill over",
        ),
        (["argmax"], ["label map, argmax(1)", "label map, max(1).indices"], "of its cells uniform"),
        (
            ["post", "--instances", "6"],
            [f"postprocessing, {name}" for name in ("ScoreOrderFusion", "SemanticGuidedFusion", "EvidenceFusion")],
            "6 instances with soft 28x28 masks",
        ),
        (
            ["semantic-eval"],
            [*["semantic evaluation of an image"] * 3, "confusion matrix of two label maps"],
            "19 classes",
        ),
        (
            ["panoptic-eval", "--instances", "12"],
            [*["panoptic evaluation of an image"] * 3, "matching of two panoptic maps"],
            "segments",
        ),
        (
            ["ap", *FEW],
            ["average precision of boxes", "average precision of masks", "kinds of errors, calibration, label errors"],
            "6 synthetic images (seed 0), 96x192, 30 objects, 60 detections, 3 classes",
        ),
        (["infer"], ["inference, ASPRefinementHead, ScoreOrderFusion"], "a score threshold of 0"),
        (["pipeline", "--images", "2"], ["evaluation, several images at a time"], "random weights"),
    ],
)
def test_a_command_measures_and_writes(benchmark_tool, no_memory, tmp_path, capsys, command, names, words):
    """Its equality is asserted on the way."""
    path, readme = tmp_path / "measured.json", tmp_path / "README.md"
    readme.write_text(f"before\n<!-- benchmark-{command[0]}:begin -->\n<!-- benchmark-{command[0]}:end -->\nafter\n")
    options = ["--size", "96x192", "--repeats", "2", "--threads", "1", "--json", str(path), "--into", str(readme)]
    benchmark_tool.benchmark.main([*command, *options])
    measured = json.loads(path.read_text())
    assert [each["name"] for each in measured] == names
    for each in measured:
        assert each["ours_ms"] > 0 and each["ratio"] == pytest.approx(each["peer_ms"] / each["ours_ms"])
        assert words in each["inputs"] and "seed 0" in each["inputs"] and "96x192" in each["inputs"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    published = readme.read_text()
    assert published.startswith("before\n<!--") and published.endswith("-->\nafter\n")
    for each in measured:
        assert f"| {each['name']}" in published and f"{each['ratio']:.3g} [" in published


def test_a_readme_without_markers_is_refused_before_measuring(benchmark_tool, tmp_path):
    with pytest.raises(SystemExit, match="expected <!-- benchmark-argmax:begin -->"):
        benchmark_tool.benchmark.main(["argmax", "--size", "96x192", "--into", str(TOOLS / "benchmark.py")])


def test_memory_of_compiled_loops_is_that_of_a_later_call(benchmark_tool):
    """A process of its own prepares, and compiles before it measures: 4 MB of an array, not numba's 90 MB."""
    memory = benchmark_tool.memory
    if not memory.can_reset_peak():
        pytest.skip("this system does not tell a process's highest memory use anew")
    assert 3.5 < memory.peak_on_cpu(partial(compiled_loop.prepare, 4), threads=1) < 8


@pytest.mark.parametrize("part", PARTS)
def test_inputs_are_the_same_each_time(benchmark_tool, part):
    comparison = first_comparison(benchmark_tool, part)
    comparison.assert_equal(comparison.method()(), comparison.peer()())
    again = first_comparison(benchmark_tool, part)
    again.assert_equal(again.method()(), comparison.peer()())


def test_a_fusion_that_breaks_its_rule_is_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "fusion", "--instances", "6")
    method, peer = comparison.method()(), comparison.peer()()
    comparison.assert_equal(method, peer)
    segment = method.panoptic.segments_info[0]
    method.panoptic.segments_info[0] = {**segment, "category_id": (segment["category_id"] + 1) % 8}
    with pytest.raises(AssertionError, match="of another class"):
        comparison.assert_equal(method, peer)
    method.panoptic.segments_info[0] = segment
    method.panoptic.ids[:48, :96][method.panoptic.ids[:48, :96] > 0] = 0
    with pytest.raises(AssertionError):
        comparison.assert_equal(method, peer)


def test_a_fusion_with_wrong_labels_is_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "fusion", "--instances", "6")
    method, peer = comparison.method()(), comparison.peer()()
    method.labels[0, 0] += 1
    with pytest.raises(AssertionError, match="refined labels"):
        comparison.assert_equal(method, peer)


def test_a_fusion_with_a_wrong_mask_is_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "fusion", "--instances", "6")
    method, peer = comparison.method()(), comparison.peer()()
    kept = next(info["instance_id"] for info in method.panoptic.segments_info if info["isthing"])
    method.masks.masks[kept].logical_not_()
    with pytest.raises(AssertionError, match="mask of"):
        comparison.assert_equal(method, peer)


def test_a_merge_with_other_segments_is_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "fusion", "--instances", "6")
    ids, infos = comparison.peer()()
    with pytest.raises(AssertionError, match="segments"):
        comparison.assert_equal(comparison.method()(), (ids, infos[:-1]))


def test_a_filling_with_one_wrong_owner_is_found(benchmark_tool):
    args = benchmark_tool.benchmark.parse_args(["fusion", "--size", "96x192", "--instances", "6"])
    comparison = benchmark_tool.fusion.make_comparisons(args)[-1]
    method, peer = comparison.method()(), comparison.peer()()
    comparison.assert_equal(method, peer)
    method[50, 50] += 1
    with pytest.raises(AssertionError, match="1 pixels have another owner"):
        comparison.assert_equal(method, peer)


def test_labels_may_only_differ_at_ties(benchmark_tool):
    resized = torch.tensor([[[1.0, 1.0, 0.0]], [[1.0 + 4e-6, 0.5, 2.0]]])
    peer = torch.tensor([[1, 0, 1]])
    check = benchmark_tool.logits.assert_equal_but_for_ties
    # At the first pixel the two logits differ by 4e-6, at the second by 0.5.
    assert check(torch.tensor([[0, 0, 1]]), peer, resized).tolist() == [[True, False, False]]
    with pytest.raises(AssertionError, match="1 labels differ"):
        check(torch.tensor([[1, 1, 1]]), peer, resized)


def test_wrong_labels_of_argmax_are_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "argmax")
    method, peer = comparison.method()(), comparison.peer()()
    method[10, 10] = (method[10, 10] + 1) % 19
    with pytest.raises(AssertionError, match="differ by more than a tie"):
        comparison.assert_equal(method, peer)


def test_wrong_results_of_postprocessing_are_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "post", "--instances", "6")
    method, peer = comparison.method()(), comparison.peer()()
    ids, infos = method["panoptic_seg"]
    with pytest.raises(AssertionError):
        comparison.assert_equal({**method, "panoptic_seg": (torch.where(ids == 1, 2, ids), infos)}, peer)
    mask = next(mask for mask in method["instances"].pred_masks.masks if mask.numel())
    mask[0, 0] = ~mask[0, 0]
    with pytest.raises(AssertionError, match="1 pixels of masks differ"):
        comparison.assert_equal(method, peer)


def test_a_wrong_confusion_matrix_is_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "semantic_eval")
    method, peer = comparison.method()(), comparison.peer()()
    comparison.assert_equal(method, peer)
    peer.evaluator._conf_matrix[3, 5] += 1  # rows of the peer are predictions
    with pytest.raises(AssertionError, match=r"\[\[5, 3\]\] differ"):
        comparison.assert_equal(method, peer)


def test_a_wrong_panoptic_quality_is_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "panoptic_eval", "--instances", "12")
    method, peer = comparison.method()(), comparison.peer()()
    comparison.assert_equal(method, peer)
    matched = next(each for each in peer.pq_per_cat.values() if each.tp)
    matched.iou += 1e-6
    with pytest.raises(AssertionError, match="is not"):
        comparison.assert_equal(method, peer)


def test_a_wrong_match_is_found(benchmark_tool):
    args = benchmark_tool.benchmark.parse_args(["panoptic-eval", "--size", "96x192", "--instances", "12"])
    comparison = args.command.make_comparisons(args)[-1]
    method, peer = comparison.method()(), comparison.peer()()
    comparison.assert_equal(method, peer)
    next(each for each in peer.pq_per_cat.values() if each.tp).fn += 1
    with pytest.raises(AssertionError, match="is not"):
        comparison.assert_equal(method, peer)


def test_a_wrong_average_precision_is_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "ap", *FEW)
    method, peer = comparison.method()(), comparison.peer()()
    comparison.assert_equal(method, peer)
    assert 1 < method["AP"] < 99
    with pytest.raises(AssertionError, match="AP-class 1"):
        comparison.assert_equal(method, {**peer, "AP-class 1": peer["AP-class 1"] + 1e-13})


def test_the_images_of_average_precision(benchmark_tool):
    images = benchmark_tool.ap.make_images(benchmark_tool.ap.SIZE, 20, 300, 450, 10)
    objects = [each for image in images for each in image.ground_truth]
    assert (len(images), len(objects), sum(len(image.detections) for image in images)) == (20, 300, 450)
    assert {each.thing_id for each in objects} == set(range(10)) and any(each.is_crowd for each in objects)
    small, large = (np.mean([low <= each.area < high for each in objects]) for low, high in ((0, 1024), (9216, 1e9)))
    assert 0.3 < small < 0.6 and 0.05 < large < 0.3


def test_wrong_detections_are_found(benchmark_tool):
    comparison = first_comparison(benchmark_tool, "infer")
    method, peer = comparison.method()(), comparison.peer()()
    method["instances"].scores[0] += 0.01
    with pytest.raises(AssertionError, match=r"scores differ by up to 0\.0"):
        comparison.assert_equal(method, peer)


def test_sizes_that_are_not_multiples_of_the_stride_are_refused(benchmark_tool):
    for command in ("argmax", "post"):
        with pytest.raises(SystemExit, match="multiples of 4 pixels"):
            benchmark_tool.benchmark.main([command, "--size", "97x192"])


def test_the_street_at_full_size(benchmark_tool):
    """19 classes, 40 instances, and at least 100,000 pixels to fill, over thousands of breadth-first levels."""
    street, table = (
        benchmark_tool.streets.make_street((1024, 2048), 40, winding=True),
        benchmark_tool.streets.unified_table(),
    )
    assert street.labels.unique().tolist() == list(range(19)) and table.num_semantic == 19
    assert len(street.boxes) == len(street.soft_masks) == len(street.scores) == len(street.thing_ids) == 40
    owners, regions, kept = benchmark_tool.plain_fusion.match_plainly(street, table)
    assert len(kept) == 40
    filled, levels = benchmark_tool.plain_fusion.grow_plainly(owners, regions)
    assert np.count_nonzero(filled != owners) > 100_000 and levels > 5_000
    # Some parts have no detection: one of at least 0.0005 of the image, 1049 pixels, and smaller ones.
    left = ((filled == 0) & (regions > 0)).astype(np.uint8)
    areas = cv2.connectedComponentsWithStats(left, connectivity=4)[2][1:, cv2.CC_STAT_AREA]
    assert areas.max() > 1049 > areas.min()


def test_the_panoptic_ground_truth_at_full_size(benchmark_tool):
    ids, infos = benchmark_tool.panoptic_eval.true_segments((1024, 2048), 200)
    assert 205 <= len(infos) <= 225 and ids.shape == (1024, 2048)


def test_the_field_at_full_size(benchmark_tool):
    field = benchmark_tool.logits.smooth_field((1024, 2048), 19)
    assert field.shape == (19, 256, 512) and field.is_contiguous()
    assert 0.82 < benchmark_tool.logits.uniform_share(field) < 0.86


def test_share_of_uniform_cells_by_hand(benchmark_tool):
    # 3 x 4 logits, class 1 wins in the last two columns: of 2 x 3 squares those in the middle column are mixed.
    logits = torch.zeros(2, 3, 4)
    logits[1, :, 2:] = 1
    logits[0, :, :2] = 1
    assert benchmark_tool.logits.uniform_share(logits) == pytest.approx(4 / 6)


def test_plain_growth_by_hand(benchmark_tool):
    # One row; owners 2 and 1 at the ends of region 1. The pixel in the middle is two steps from both: owner 1 has it.
    # The last pixel is of region 2, where nobody is.
    owners = np.array([[2, 0, 0, 0, 1, 0]], dtype=np.int32)
    regions = np.array([[1, 1, 1, 1, 1, 2]])
    filled, levels = benchmark_tool.plain_fusion.grow_plainly(owners, regions)
    assert filled.tolist() == [[2, 2, 1, 1, 1, 0]] and levels == 2


def test_growth_is_drawn(benchmark_tool, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark_tool.growth, "INSTANCES", (1, 4))
    monkeypatch.setattr(benchmark_tool.growth, "MEGAPIXELS", (0.01, 0.02))
    path = tmp_path / "new" / "growth.png"
    benchmark_tool.benchmark.main(
        ["fusion", "--growth", str(path), "--size", "96x192", "--instances", "3", "--repeats", "2"]
    )
    picture = cv2.imread(str(path))
    assert picture.shape[0] > 400 and picture.shape[1] > 1000 and picture.std() > 0
    points = json.loads(path.with_suffix(".json").read_text())
    assert [point["instances"] for point in points] == [1, 4, 3, 3]
    # 70 x 140 and 100 x 200 pixels: twice as wide as high.
    assert [point["megapixels"] for point in points] == [0.018432, 0.018432, 0.0098, 0.02]
    assert all(p["quartiles_ms"][0] <= p["ms"] <= p["quartiles_ms"][1] for p in points)
    assert "4 instances,  0.02 megapixels" in capsys.readouterr().out


def test_growth_of_average_precision_is_drawn(benchmark_tool, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark_tool.ap, "IMAGES", (2, 4))
    monkeypatch.setattr(benchmark_tool.ap, "DETECTIONS_PER_IMAGE", (3,))
    path = tmp_path / "growth.png"
    benchmark_tool.benchmark.main(["ap", *FEW, "--growth", str(path), "--size", "96x192", "--repeats", "2"])
    assert cv2.imread(str(path)).std() > 0
    points = json.loads(path.with_suffix(".json").read_text())
    assert [(point["images"], point["detections an image"]) for point in points] == [(2, 10), (4, 10), (6, 3)]
    assert "4 images,   10 detections an image" in capsys.readouterr().out
