"""The semantic head in sliding windows."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from point_model import point_model, random_image
from torch.utils._python_dispatch import TorchDispatchMode

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.loaders import build_test_loader
from unified_seg.meta_arch import UnifiedSegmentor, build_model


def assert_same_probabilities(output: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare probabilities: windows add a constant to all logits of a pixel."""
    assert output.keys() == expected.keys() == {"sem_seg"}
    torch.testing.assert_close(output["sem_seg"].softmax(0), expected["sem_seg"].softmax(0))


@pytest.mark.parametrize("reads_image", [False, True])
@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.6])
@pytest.mark.parametrize("size", [(40, 64), (37, 61), (64, 13), (25, 24)])
def test_windows_of_a_point_model_equal_the_whole_image(
    size: tuple[int, int], overlap: float, reads_image: bool
) -> None:
    x = {"image": random_image(*size), "height": 50, "width": 45}
    whole, windows = (
        point_model(reads_image=reads_image, window_size=window, window_overlap=overlap) for window in (0, 24)
    )
    (expected,), (output,) = whole([x]), windows([x])
    assert_same_probabilities(output, expected)
    windows.output_format = "compact"
    labels = windows([x])[0]["sem_seg_labels"].long()
    probabilities = expected["sem_seg"].softmax(0)
    assert labels.shape == (50, 45)
    assert (probabilities.gather(0, labels[None])[0] > probabilities.amax(0) - 1e-5).all()


def test_windows_have_the_configured_size() -> None:
    # 37 x 61 pixels are padded to 40 x 64; in steps of 8 a window of 24 gets on by 16: 0, 16 and 0, 16, 24, 40.
    model = point_model(window_size=24, window_overlap=1 / 3, output_format="compact")
    model([{"image": random_image(37, 61)}])
    assert model.backbone.seen == [(24, 24)] * 2 * 4


def test_each_window_is_run_once_for_full_outputs() -> None:
    model = point_model(window_size=24, window_overlap=1 / 3, output_format="detectron2")
    model([{"image": random_image(37, 61)}])
    assert len(model.backbone.seen) == 2 * 4


def test_images_no_larger_than_the_window_are_run_whole() -> None:
    model = point_model(window_size=64)
    model([{"image": random_image(64, 64)}, {"image": random_image(40, 60)}])
    assert model.backbone.seen == [(64, 64)]


def test_batches_may_mix_sizes() -> None:
    batch = [{"image": random_image(*size, seed=i)} for i, size in enumerate([(64, 64), (20, 30), (24, 100)])]
    windows, whole = point_model(window_size=24), point_model()
    for output, x in zip(windows(batch), batch, strict=True):
        assert_same_probabilities(output, whole([x])[0])
        assert output["sem_seg"].shape[1:] == x["image"].shape[1:]


def test_windows_without_overlap_are_independent(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.PROPOSAL_GENERATOR.NAME = tiny_config.MODEL.ROI_HEADS.NAME = ""
    tiny_config.MODEL.PANOPTIC_FUSION.NAME = ""
    tiny_config.TEST.WINDOW.SIZE, tiny_config.TEST.WINDOW.OVERLAP = 64, 0.0
    model = build(tiny_config)
    image = random_image(64, 128)
    with torch.no_grad():
        left, right = (
            next(model.predict([{"image": half}])[0].semantic.bands())[1]
            for half in (image[:, :, :64], image[:, :, 64:])
        )
        _, both = next(model.predict([{"image": image}])[0].semantic.bands())
    torch.testing.assert_close(both, torch.cat([left, right], dim=2).log_softmax(0))


def test_detector_runs_on_the_whole_image(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    plain = build(tiny_config)
    tiny_config.TEST.WINDOW.SIZE, tiny_config.TEST.WINDOW.OVERLAP = 64, 0.5
    model = build(tiny_config)
    model.load_state_dict(plain.state_dict())
    seen = []
    model.backbone.register_forward_hook(lambda module, inputs, _: seen.append(tuple(inputs[0].shape[-2:])))
    batch = next(iter(build_test_loader(tiny_config, tiny_config.DATASETS.TEST[0])))
    with torch.no_grad():
        (output,), (expected,) = model(batch), plain(batch)
    assert seen == [(64, 128), (64, 64), (64, 64), (64, 64)]
    assert len(output["instances"]) > 0 and output.keys() == expected.keys()
    for field in ("pred_masks", "scores", "pred_classes"):
        assert torch.equal(output["instances"].get(field), expected["instances"].get(field))
    assert not torch.equal(output["sem_seg"], expected["sem_seg"])


class Largest(TorchDispatchMode):
    """Records `numel` of the largest floating-point tensor that is computed (the image itself has bytes)."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple) else (result,):
            if isinstance(each, torch.Tensor) and each.is_floating_point():
                self.numel = max(self.numel, each.numel())
        return result


@pytest.mark.parametrize("window", [0, 24])
def test_windows_never_hold_the_logits_of_the_image(window: int) -> None:
    model = point_model(window_size=window, output_format="compact")
    with Largest() as watch:
        model([{"image": random_image(256, 128), "height": 16, "width": 16}])
    # 64 x 32 positions at stride 4; with windows 6 x 32 of them at a time, and the row above.
    assert (watch.numel >= 19 * 64 * 32) == (window == 0)


def test_windows_compute_no_gradients() -> None:
    (output,) = point_model(window_size=24)([{"image": random_image(64, 64)}])
    assert not output["sem_seg"].requires_grad


@pytest.mark.parametrize(
    ("size", "overlap", "message"),
    [
        (16, 0.3, "TEST.WINDOW: .*16 pixels .* 32"),
        (100, 0.3, "TEST.WINDOW: .* 96.* 128"),
        (64, 1.0, "TEST.WINDOW: .*overlap.*, got 1.0"),
        (32, 0.3, "TEST.WINDOW: .* cannot advance .* 32"),
    ],
)
def test_invalid_windows_are_refused(size: int, overlap: float, message: str, tiny_config: CfgNode) -> None:
    tiny_config.TEST.WINDOW.SIZE, tiny_config.TEST.WINDOW.OVERLAP = size, overlap
    with pytest.raises(ConfigError, match=message):
        build_model(tiny_config)


def build(cfg: CfgNode) -> UnifiedSegmentor:
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    assert isinstance(model, UnifiedSegmentor)
    return model
