"""ResNets of torchvision, saved as torchvision publishes them, are the same networks in Detectron2."""

import pytest
import torch
import torchvision
from detectron2.modeling import build_backbone
from torch import nn

from unified_seg import get_config
from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.checkpoint.torchvision_weights import is_torchvision_resnet, rename_torchvision_resnet

STAGES = ["res2", "res3", "res4", "res5"]
BACKBONES = ["build_resnet_backbone", "build_resnet_fpn_backbone", "build_dilated_resnet_backbone"]


class Model(nn.Module):
    """A model with a backbone and a new layer."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(1, 1, 1)


def backbone_config(depth, norm="BN", name="build_resnet_backbone"):
    cfg = get_config()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_AT = name, 0
    cfg.MODEL.RESNETS.DEPTH = depth
    cfg.MODEL.RESNETS.NORM = norm
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = STAGES
    if depth < 50:
        cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    return cfg


def build(depth, **options):
    return Model(build_backbone(backbone_config(depth, **options)))


def publish(depth):
    """Return torchvision's network with weights and statistics that differ from the initial ones everywhere."""
    torch.manual_seed(depth)
    net = torchvision.models.get_model(f"resnet{depth}", weights=None).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.6)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net


def save(net, folder):
    path = folder / "resnet.pth"
    torch.save(net.state_dict(), path)
    return str(path)


def compute_features(net, image):
    """Return the outputs of the stages, computed by torchvision's own modules."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(image))))
    features = {}
    for name, stage in zip(STAGES, (net.layer1, net.layer2, net.layer3, net.layer4)):
        features[name] = x = stage(x)
    return features


@pytest.mark.parametrize("depth", [18, 50])
def test_features_equal_those_of_torchvision(depth, tmp_path):
    net, model = publish(depth), build(depth).eval()
    Checkpointer(model).load(save(net, tmp_path))
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        found, expected = model.backbone(image), compute_features(net, image)
    for name in STAGES:
        assert expected[name].std() > 0.1
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_every_tensor_has_a_name_of_detectron2(depth):
    with torch.device("meta"):
        published = torchvision.models.get_model(f"resnet{depth}").state_dict()
        expected = build(depth).backbone.state_dict()
    assert is_torchvision_resnet(published)
    renamed = {name: value.shape for name, value in rename_torchvision_resnet(published).items()}
    assert renamed == {name: value.shape for name, value in expected.items() if "num_batches_tracked" not in name}
    # Only the classifier and the counters are left out.
    dropped = {name for name in published if name.startswith("fc.") or name.endswith("num_batches_tracked")}
    assert len(renamed) == len(published) - len(dropped)


@pytest.mark.parametrize(
    ("name", "norm"), [*((name, "BN") for name in BACKBONES), (BACKBONES[0], "FrozenBN"), (BACKBONES[1], "SyncBN")]
)
def test_every_tensor_arrives_in_every_backbone(name, norm, tmp_path):
    net, model = publish(18), build(18, name=name, norm=norm)
    before = model.head.weight.clone()
    Checkpointer(model).load(save(net, tmp_path))
    body = getattr(model.backbone, "bottom_up", model.backbone).state_dict()
    expected = rename_torchvision_resnet(net.state_dict())
    assert expected.keys() == {name for name in body if "num_batches_tracked" not in name}
    for key, value in expected.items():
        assert torch.equal(body[key], value), key
    assert torch.equal(model.head.weight, before)


def test_backbone_without_its_last_stage_loads_the_others(tmp_path):
    cfg = backbone_config(18)
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res4"]
    net, model = publish(18), Model(build_backbone(cfg))
    Checkpointer(model).load(save(net, tmp_path))
    assert torch.equal(model.backbone.res4[1].conv2.weight, net.layer3[1].conv2.weight)


@pytest.mark.parametrize(
    ("file", "model", "fault"),
    [
        (18, 34, r"backbone\.res2\.2\.conv1\.weight"),  # 2 blocks, 3
        (34, 18, r"res2\.2\.conv1\.weight"),
        (50, 18, r"backbone\.res2\.0\.conv1\.weight"),  # 1x1, 3x3
    ],
)
def test_resnet_of_another_depth_is_refused(file, model, fault, tmp_path):
    path = save(publish(file), tmp_path)
    with pytest.raises(CheckpointError, match=rf"resnet\.pth: .*{fault}.*MODEL\.RESNETS\.DEPTH"):
        Checkpointer(build(model)).load(path)


def test_only_whole_resnets_are_recognized():
    names = dict.fromkeys(torchvision.models.resnet18().state_dict(), 0)
    assert is_torchvision_resnet(names)
    assert not is_torchvision_resnet({**names, "decoder.weight": 0})
    assert not is_torchvision_resnet({f"backbone.{name}": 0 for name in names})
    assert not is_torchvision_resnet({"conv1.weight": 0, "fc.weight": 0})
    assert not is_torchvision_resnet({})
