"""A choice of images that are not alike.

Source: Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach (2018), section 4.3:
greedy k-center. Here it chooses among the images of highest uncertainty alone.

N = images, C = channels of features.
"""

import numpy as np

#: Images of highest uncertainty among which is chosen, for each chosen one.
CANDIDATES = 4


def choose_diverse(features: np.ndarray, count: int) -> list[int]:
    """Choose images of which none is like another: greedy k-center among the first CANDIDATES * count.

    The first image is chosen, then in each step the one whose features are farthest from those of the chosen ones; of
    equally far ones the first. Features are compared by their direction (cosine).

    Args:
        features: (N, C), of the images in order of falling uncertainty.
        count: number of images to choose.

    Returns:
        The indices of min(count, N) images, ascending.
    """
    candidates = features[: CANDIDATES * count].astype(np.float64)
    candidates /= np.maximum(np.linalg.norm(candidates, axis=1, keepdims=True), 1e-12)
    distance = np.full(len(candidates), np.inf)
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        # An image that is chosen is never chosen again, also if all others have the same features.
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, 1 - candidates @ candidates[chosen[-1]])
    return sorted(chosen)
