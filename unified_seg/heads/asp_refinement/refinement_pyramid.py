"""The refinement pyramid: finer levels predict the residual of the coarser ones.

Source: Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018), III.B.
"""

from torch import Tensor

from unified_seg.ops.resampling import upsample_to


def refine(levels: list[Tensor]) -> list[Tensor]:
    """Add to each level the upsampled sum of all coarser ones: r5 = h5, r4 = h4 + up(r5), r3 = h3 + up(r4) ...

    Args:
        levels: (N, C, h_i, w_i) from fine to coarse, all of C channels.

    Returns:
        The refined levels, from fine to coarse, of the same shapes.
    """
    refined = [levels[-1]]
    for level in reversed(levels[:-1]):
        refined.append(level + upsample_to(refined[-1], like=level))
    return refined[::-1]
