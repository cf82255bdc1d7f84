"""Pictures of predictions. (H, W) = the image."""

import numpy as np
from PIL import Image, ImageDraw

from unified_seg_arrays.class_table import ClassTable
from unified_seg_runtime.results import Instances, Prediction

# The share of the color of a class in a pixel; void and unlabeled pixels are darkened.
OPACITY = 0.5
MIN_SCORE = 0.5
OUTLINE = np.array((255, 255, 255), dtype=np.uint8)


def draw_prediction(
    image: np.ndarray, prediction: Prediction, classes: ClassTable, min_score: float = MIN_SCORE
) -> np.ndarray:
    """Draw segments, or labels and instances, with the names of the classes over an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: for it.
        classes: names and colors.
        min_score: of the drawn instances.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    colors = np.zeros((height, width, 3), dtype=np.uint8)
    outlines = np.zeros((height, width), dtype=bool)
    names: list[tuple[str, int, int]] = []
    if prediction.labels is not None:
        palette = np.zeros((256 if prediction.labels.dtype == np.uint8 else 2**15, 3), dtype=np.uint8)
        palette[: classes.num_semantic] = classes.semantic_colors
        colors = palette[prediction.labels]
    if prediction.panoptic_ids is not None and prediction.segments_info is not None:
        ids = prediction.panoptic_ids
        outlines = _find_borders(ids)
        palette = np.zeros((ids.max() + 1, 3), dtype=np.uint8)
        for segment in prediction.segments_info:
            found = classes.find_class(segment["category_id"], segment["isthing"])
            palette[segment["id"]] = found.color
            names.append((found.name, *_find_middle(ids == segment["id"])))
        colors = palette[ids]
    elif prediction.instances is not None:
        names += _draw_instances(prediction.instances, classes, min_score, colors, outlines)
    elif prediction.labels is not None:
        outlines = _find_borders(prediction.labels)
        for label in np.unique(prediction.labels):
            if label < classes.num_semantic:
                names.append((classes.semantic_names[label], *_find_middle(prediction.labels == label)))
    picture = (image * (1 - OPACITY) + colors * OPACITY).astype(np.uint8)
    picture[outlines] = OUTLINE
    return _write_names(picture, names)


def _draw_instances(
    instances: Instances, classes: ClassTable, min_score: float, colors: np.ndarray, outlines: np.ndarray
) -> list[tuple[str, int, int]]:
    """Draw masks, or boxes of a model without masks, in place, and return the names with their places."""
    names = []
    for index in np.flatnonzero(instances.scores >= min_score)[::-1]:  # the highest score is drawn last
        found = classes.things[instances.classes[index]]
        x0, y0, x1, y1 = instances.boxes[index].round().astype(int)
        x0, y0 = min(x0, outlines.shape[1] - 1), min(y0, outlines.shape[0] - 1)  # of a thin box at the border
        names.append((f"{found.name} {instances.scores[index]:.2f}", (x0 + x1) // 2, (y0 + y1) // 2))
        if instances.masks is None:
            outlines[y0:y1, [x0, max(x1 - 1, 0)]] = outlines[[y0, max(y1 - 1, 0)], x0:x1] = True
            continue
        left, top, right, bottom = instances.masks.windows[index].tolist()
        mask = instances.masks.planes[index]
        colors[top:bottom, left:right][mask] = found.color
        outlines[top:bottom, left:right] |= _find_borders(mask) & mask
    return names


def _find_borders(map: np.ndarray) -> np.ndarray:
    """Return (H, W) bool: the pixels whose right or lower neighbor has another value."""
    borders = np.zeros(map.shape, dtype=bool)
    borders[:, :-1] |= map[:, 1:] != map[:, :-1]
    borders[:-1] |= map[1:] != map[:-1]
    return borders


def _find_middle(mask: np.ndarray) -> tuple[int, int]:
    """Return x, y of the pixel of a mask that is nearest to the mean of its pixels."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return int(columns[nearest]), int(rows[nearest])


def _write_names(picture: np.ndarray, names: list[tuple[str, int, int]]) -> np.ndarray:
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    for name, x, y in names:
        box = draw.textbbox((x, y), name, anchor="mm")
        draw.rectangle(box, fill=(0, 0, 0))
        draw.text((x, y), name, fill=(255, 255, 255), anchor="mm")
    return np.asarray(canvas)
