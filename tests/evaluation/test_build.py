from itertools import pairwise
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from drawn_streets import METADATA, Streets, annotations_of, draw_street, perfect_output, run

from unified_seg.config import get_config
from unified_seg.data.io.plain_images import load_panoptic_ids
from unified_seg.evaluation import build_evaluators

NAME = "drawn_streets_build"


@pytest.fixture
def record(streets: Streets):
    """The record of a registered data set of one image; what a test takes out of it, the data set lacks."""
    record = streets.add("street", draw_street())
    DatasetCatalog.register(NAME, lambda: [record])
    MetadataCatalog.get(NAME).set(**METADATA)
    yield record
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def config(semantic: bool, detector: bool, masks: bool = True, fusion: bool = True) -> CfgNode:
    cfg = get_config()
    cfg.MODEL.SEM_SEG_HEAD.NAME = "SemSegFPNHead" if semantic else ""
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads" if detector else ""
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "RPN" if detector else ""
    cfg.MODEL.MASK_ON = masks
    cfg.MODEL.PANOPTIC_FUSION.NAME = "ScoreOrderFusion" if fusion else ""
    return cfg


def kinds(cfg: CfgNode, folder: Path) -> list[str]:
    return [type(e).__name__.removesuffix("Evaluator") for e in build_evaluators(cfg, NAME, folder)._evaluators]


@pytest.mark.parametrize(
    ("cfg", "expected"),
    [
        (config(True, True), ["Semantic", "Instance", "CityscapesInstance", "Panoptic", "Recognition"]),
        (config(True, True, fusion=False), ["Semantic", "Instance", "CityscapesInstance", "Recognition"]),
        (config(True, False), ["Semantic"]),
        (config(False, True), ["Instance", "CityscapesInstance"]),
        (config(False, True, masks=False), ["Instance"]),
    ],
)
def test_evaluators_fit_the_model(record: dict, tmp_path: Path, cfg: CfgNode, expected: list[str]):
    assert kinds(cfg, tmp_path) == expected


@pytest.mark.parametrize("names", [["PyramidalOutputHead"], ["ErrorCorrectionHead", "ConfusionGroupHead", "PSPHead"]])
def test_evaluators_fit_the_base_head(record: dict, tmp_path: Path, names: list[str]):
    """In whatever order heads are around each other, or not."""
    nodes = {"ErrorCorrectionHead": "ERROR_CORRECTION", "ConfusionGroupHead": "CONFUSION_GROUPS"}
    of_head = {"PyramidalOutputHead": ["Level"], "ErrorCorrectionHead": ["Error", "Correction"]}
    for order in (names, ["ConfusionGroupHead", *names], names[1::-1] + names[2:]):
        cfg = config(True, False)
        head = cfg.MODEL.SEM_SEG_HEAD
        chain = list(dict.fromkeys(order))
        head.NAME = chain[0]
        for outer, inner in pairwise(chain):
            head[nodes[outer]].BASE = inner
        assert kinds(cfg, tmp_path) == ["Semantic", *of_head[names[0]]]


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [
        ({"sem_seg_file_name"}, ["Semantic", "Instance", "CityscapesInstance", "Panoptic", "Recognition"]),
        ({"instance_ids_file_name"}, ["Semantic", "Instance", "Panoptic", "Recognition"]),
        ({"pan_seg_file_name", "instance_ids_file_name"}, ["Semantic", "InstanceExporter"]),
    ],
)
def test_evaluators_fit_the_data_set(record: dict, tmp_path: Path, lacking: set[str], expected: list[str]):
    for key in lacking:
        del record[key]
    assert kinds(config(True, True), tmp_path) == expected


@pytest.mark.parametrize("output", ["pyramidal", "finest", "single"])
def test_pyramidal_output_has_a_level_evaluator(record: dict, tmp_path: Path, output: str):
    cfg = config(True, False)
    cfg.MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT = output
    assert kinds(cfg, tmp_path) == ["Semantic"]  # of another head
    cfg.MODEL.SEM_SEG_HEAD.NAME = "PyramidalOutputHead"
    cfg.MODEL.SEM_SEG_HEAD.PYRAMID.STRIDES = [16, 4]
    assert kinds(cfg, tmp_path) == ["Semantic", "Level"][: 2 if output == "pyramidal" else 1]
    if output == "pyramidal":
        assert build_evaluators(cfg, NAME, tmp_path)._evaluators[1].strides == (16, 4)


def test_error_correction_has_evaluators_of_errors_and_of_their_correction(record: dict, tmp_path: Path):
    cfg = config(True, False)
    cfg.MODEL.SEM_SEG_HEAD.NAME = "ErrorCorrectionHead"
    node = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION
    node.THRESHOLD, node.HARD_CONFIDENCE = 0.6, 0.9
    _, errors, correction = build_evaluators(cfg, NAME, tmp_path)._evaluators
    assert (errors.threshold, errors.hard_confidence, correction.threshold) == (0.6, 0.9, 0.6)
    assert kinds(cfg, tmp_path) == ["Semantic", "Error", "Correction"]
    # Other outputs replace no labels by the error probability.
    for key, value in (("OUTPUT", "average"), ("ERRORS", "unsure")):
        other = cfg.clone()
        other.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION[key] = value
        assert kinds(other, tmp_path) == ["Semantic", "Error"]


def test_annotations_are_ground_truth_of_instances(record: dict, tmp_path: Path):
    for key in ("pan_seg_file_name", "instance_ids_file_name"):
        del record[key]
    record["annotations"] = annotations_of(draw_street())
    assert kinds(config(True, True), tmp_path) == ["Semantic", "Instance"]


def test_one_pass_gives_all_scores(record: dict, tmp_path: Path):
    results = run(build_evaluators(config(True, True), NAME, tmp_path), [record], [perfect_output(draw_street())])
    tasks = ["sem_seg", "bbox", "segm", "errors_segm", "cityscapes_instances", "panoptic_seg", "recognition"]
    assert list(results) == tasks
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "streets") == [
        "cityscapes_instances",
        "coco_instances_results.json",
        "instance_errors.json",
        "instance_matches.npz",
        "instances.npz",
        "panoptic_seg.npz",
        "segments.npz",
        "sem_seg.npz",
        "sem_seg_confidence.npz",
    ]


def test_panoptic_ground_truth_is_read_once(record: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Three evaluators look at it."""
    read = []
    monkeypatch.setattr(
        "unified_seg.evaluation.base.load_panoptic_ids",
        lambda path: read.append(path) or load_panoptic_ids(path),
    )
    evaluators = build_evaluators(config(True, True), NAME, tmp_path)
    for _ in range(2):  # and once more in another evaluation (item 38)
        read.clear()
        run(evaluators, [record], [perfect_output(draw_street())])
        assert read == [record["pan_seg_file_name"]]


def test_shared_semantic_id_has_no_recognition(record: dict, tmp_path: Path):
    separated = {
        "stuff_classes": ["things", "road", "sky"],
        "stuff_dataset_id_to_contiguous_id": {0: 0, 7: 1, 23: 2},
        "stuff_colors": [(0, 0, 0), (128, 64, 128), (70, 130, 180)],
    }
    MetadataCatalog.remove(NAME)
    MetadataCatalog.get(NAME).set(**METADATA | separated)
    assert "Recognition" not in kinds(config(True, True), tmp_path)


EXPORTS = {
    "coco_panoptic": "CocoPanopticExporter",
    "cityscapes_semantic": "CityscapesSemanticExporter",
    "cityscapes_instances": "CityscapesInstanceExporter",
}


class TestExports:
    def test_test_split_without_labels_is_exported(self, record: dict, tmp_path: Path):
        cfg = config(True, True)
        cfg.TEST.EXPORT = list(EXPORTS)
        for key in [key for key in record if key not in ("file_name", "image_id", "height", "width")]:
            del record[key]
        evaluators = build_evaluators(cfg, NAME, tmp_path)
        assert [type(e).__name__ for e in evaluators._evaluators] == [*EXPORTS.values(), "InstanceExporter"]
        assert run(evaluators, [record], [perfect_output(draw_street())]) == {}
        files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*.*"))
        assert files == [
            "cityscapes_instances/street_0_24.png",
            "cityscapes_instances/street_1_26.png",
            "cityscapes_instances/street_2_26.png",
            "cityscapes_instances/street_pred.txt",
            "panoptic/predictions.json",
            "panoptic/street.png",
            "sem_seg_cityscapes/street_pred.png",
        ]

    def test_exporters_come_before_the_scores(self, record: dict, tmp_path: Path):
        cfg = config(True, True)
        without = kinds(cfg, tmp_path)
        cfg.TEST.EXPORT = list(EXPORTS)
        # The instances are written by the evaluator of instances.
        assert kinds(cfg, tmp_path) == ["CocoPanopticExporter", "CityscapesSemanticExporter", *without]

    def test_unknown_name_is_an_error(self, record: dict, tmp_path: Path):
        cfg = config(True, True)
        cfg.TEST.EXPORT = ["coco_panoptics"]
        with pytest.raises(ValueError, match=rf"TEST\.EXPORT: .*'coco_panoptics'.* {', '.join(EXPORTS)}"):
            build_evaluators(cfg, NAME, tmp_path)

    @pytest.mark.parametrize(
        ("name", "part", "cfg"),
        [
            ("coco_panoptic", "panoptic", config(True, True, fusion=False)),
            ("cityscapes_semantic", "semantic", config(False, True)),
            ("cityscapes_instances", "masks", config(True, True, masks=False, fusion=False)),
        ],
    )
    def test_missing_prediction_is_an_error(self, record: dict, tmp_path: Path, name: str, part: str, cfg: CfgNode):
        cfg.TEST.EXPORT = [name]
        with pytest.raises(ValueError, match=rf"TEST\.EXPORT: {name} needs {part}"):
            build_evaluators(cfg, NAME, tmp_path)


def test_box_detector_is_evaluated_on_boxes(record: dict, tmp_path: Path):
    output = perfect_output(draw_street())
    output["instances"].remove("pred_masks")
    results = run(build_evaluators(config(False, True, masks=False), NAME, tmp_path), [record], [output])
    assert list(results) == ["bbox", "errors_bbox"]


def test_average_precision_counts_the_detections_of_the_config(record: dict, tmp_path: Path):
    cfg = config(False, True)
    cfg.TEST.DETECTIONS_PER_IMAGE = 300
    evaluator = build_evaluators(cfg, NAME, tmp_path)._evaluators[0]
    assert evaluator.max_detections == 300


def test_predictions_without_ground_truth_are_noted(record: dict, tmp_path: Path):
    del record["pan_seg_file_name"], record["instance_ids_file_name"]
    evaluators = build_evaluators(config(True, True), NAME, tmp_path)
    assert evaluators.without_ground_truth == ("bbox", "segm", "panoptic_seg")
    assert all(task in evaluators.notes[0] for task in ("bbox", "segm", "panoptic_seg"))


def test_nothing_to_evaluate_is_an_error(record: dict, tmp_path: Path):
    del record["sem_seg_file_name"], record["pan_seg_file_name"]
    with pytest.raises(ValueError, match=rf"DATASETS\.TEST: '{NAME}' .*semantic.*file_name"):
        build_evaluators(config(True, False), NAME, tmp_path)
    with pytest.raises(ValueError, match="predicts nothing"):
        build_evaluators(config(False, False), NAME, tmp_path)


def test_data_set_without_records_is_an_error(record: dict, tmp_path: Path):
    DatasetCatalog.remove(NAME)
    DatasetCatalog.register(NAME, list)
    with pytest.raises(ValueError, match=rf"DATASETS\.TEST: .*'{NAME}'"):
        build_evaluators(config(True, True), NAME, tmp_path)
