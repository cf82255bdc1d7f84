"""torchvision's ResNets, saved as torchvision publishes them and loaded into Detectron2's: the same network."""

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
    """What every model has: the backbone under a name of its own, and something new."""

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


def published(depth):
    """torchvision's network, with weights and statistics that are nowhere the ones a network is built with."""
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


def own_features(net, image):
    """The stages' outputs by torchvision's own modules."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(image))))
    features = {}
    for name, stage in zip(STAGES, (net.layer1, net.layer2, net.layer3, net.layer4)):
        features[name] = x = stage(x)
    return features


@pytest.mark.parametrize("depth", [18, 50])
def test_the_features_are_torchvisions(depth, tmp_path):
    net, model = published(depth), build(depth).eval()
    Checkpointer(model).load(save(net, tmp_path))
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, theirs = model.backbone(image), own_features(net, image)
    for name in STAGES:
        assert theirs[name].std() > 0.1
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_every_name_has_its_tensor(depth):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"resnet{depth}").state_dict()
        ours = build(depth).backbone.state_dict()
    assert is_torchvision_resnet(theirs)
    renamed = {name: value.shape for name, value in rename_torchvision_resnet(theirs).items()}
    assert renamed == {name: value.shape for name, value in ours.items() if "num_batches_tracked" not in name}
    # Of theirs only the classifier and the counters are left out.
    dropped = {name for name in theirs if name.startswith("fc.") or name.endswith("num_batches_tracked")}
    assert len(renamed) == len(theirs) - len(dropped)


@pytest.mark.parametrize("norm", ["BN", "FrozenBN", "SyncBN"])
@pytest.mark.parametrize(
    "name", ["build_resnet_backbone", "build_resnet_fpn_backbone", "build_dilated_resnet_backbone"]
)
def test_every_tensor_arrives_in_every_backbone(name, norm, tmp_path):
    net, model = published(18), build(18, name=name, norm=norm)
    before = model.head.weight.clone()
    Checkpointer(model).load(save(net, tmp_path))
    body = getattr(model.backbone, "bottom_up", model.backbone).state_dict()
    expected = rename_torchvision_resnet(net.state_dict())
    assert expected.keys() == {name for name in body if "num_batches_tracked" not in name}
    for key, value in expected.items():
        assert torch.equal(body[key], value), key
    assert torch.equal(model.head.weight, before)


def test_a_backbone_without_its_last_stage_takes_the_others(tmp_path):
    cfg = backbone_config(18)
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res4"]
    net, model = published(18), Model(build_backbone(cfg))
    Checkpointer(model).load(save(net, tmp_path))
    assert torch.equal(model.backbone.res4[1].conv2.weight, net.layer3[1].conv2.weight)


@pytest.mark.parametrize(
    ("file", "model", "fault"),
    [
        (18, 34, r"backbone\.res2\.2\.conv1\.weight is not in it or of another shape"),  # 2 blocks, 3
        (34, 18, r"the model has no res2\.2\.conv1\.weight"),
        (50, 18, r"backbone\.res2\.0\.conv1\.weight is not in it or of another shape"),  # 1x1, 3x3
    ],
)
def test_another_depth_is_an_error(file, model, fault, tmp_path):
    path = save(published(file), tmp_path)
    with pytest.raises(CheckpointError, match=rf"resnet\.pth: a ResNet of another depth or width: {fault}; see MODEL"):
        Checkpointer(build(model)).load(path)


def test_only_whole_resnets_are_recognised():
    names = dict.fromkeys(torchvision.models.resnet18().state_dict(), 0)
    assert is_torchvision_resnet(names)
    assert not is_torchvision_resnet({**names, "decoder.weight": 0})
    assert not is_torchvision_resnet({f"backbone.{name}": 0 for name in names})
    assert not is_torchvision_resnet({"conv1.weight": 0, "fc.weight": 0})
    assert not is_torchvision_resnet({})
