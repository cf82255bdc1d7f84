"""From a head's name to a head."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

from unified_seg.heads.base import SemanticHead
from unified_seg.heads.detectron2_heads import Detectron2Head, adapt_config
from unified_seg.heads.pixel_loss import build_pixel_loss


def build_semantic_head(cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> SemanticHead:
    """Build the head MODEL.SEM_SEG_HEAD.NAME with its pixel loss; Detectron2's own heads come in an adapter.

    Raises:
        ValueError: no head of that name (the message lists the known ones), a feature that the backbone lacks, or
            anything else that the head or its loss refuses.
    """
    name = cfg.MODEL.SEM_SEG_HEAD.NAME
    known = sorted(semantic_head_names())
    if name not in known:
        raise ValueError(f"MODEL.SEM_SEG_HEAD.NAME: unknown semantic head {name!r}; known: {', '.join(known)}")
    unknown = [feature for feature in cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES if feature not in input_shape]
    if unknown:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES: the backbone has no {', '.join(unknown)}; it has {', '.join(input_shape)}"
        )
    make = SEM_SEG_HEADS_REGISTRY.get(name)
    is_adapted = not (isinstance(make, type) and issubclass(make, SemanticHead))
    try:
        head = make(adapt_config(cfg) if is_adapted else cfg, input_shape)
    except AssertionError as error:
        # Detectron2's own heads check their config by assertions, some of them without a message.
        reason = str(error) or "see the assertion above"
        raise ValueError(f"MODEL.SEM_SEG_HEAD: {name} refuses this config: {reason}") from error
    head = Detectron2Head(head, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES) if is_adapted else head
    if head.uses_pixel_loss:
        head.pixel_loss = build_pixel_loss(cfg)
    return head


def semantic_head_names() -> list[str]:
    """Return the names of all registered semantic heads, Detectron2's included."""
    return [name for name, _ in SEM_SEG_HEADS_REGISTRY]
