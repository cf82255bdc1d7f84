"""A matplotlib figure over an image, in the coordinates of its pixels."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox

from unified_seg.visualization.fonts import choose_families

# Without it matplotlib's truncation could cost a pixel (https://github.com/matplotlib/matplotlib/issues/15363).
_MARGIN = 1e-2


class PixelFigure:
    """An image on which texts and boxes are drawn; x to the right, y down.

    Unlike Detectron2's VisImage it has no axes, whose set-up takes longer than all drawing here.

    Args:
        image: (h, w, 3) uint8, RGB.
    """

    def __init__(self, image: np.ndarray):
        self.height, self.width = image.shape[:2]
        size = np.array([self.width, self.height]) + _MARGIN
        self.figure = Figure(frameon=False)
        self.dpi = self.figure.get_dpi()
        self.figure.set_size_inches(size / self.dpi)
        self._canvas = FigureCanvasAgg(self.figure)
        self._image = image
        x_scale, y_scale = size / (self.width, self.height)
        self._to_display = Affine2D().scale(x_scale, -y_scale).translate(0, size[1])

    def write(self, x: float, y: float, text: str, **options: Any) -> Text:
        """Write a text of any characters; a `$` is escaped, since matplotlib would read a formula.

        Args:
            options: of matplotlib's Text.
        """
        options = {"family": choose_families(text), "transform": self._to_display, **options}
        return self.figure.text(x, y, escape(text), **options)

    def draw_rectangle(self, x0: float, y0: float, x1: float, y1: float, **options: Any) -> None:
        """Draw a rectangle; `options` are those of matplotlib's Rectangle."""
        self.figure.add_artist(Rectangle((x0, y0), x1 - x0, y1 - y0, transform=self._to_display, **options))

    def measure(self, text: Text) -> Bbox:
        """Return the extent of a text in display coordinates: pixels, but y points up from the lower edge."""
        return text.get_window_extent(self._canvas.get_renderer())

    def find_display_offset(self, x: float, y: float) -> tuple[float, float]:
        """Return how far (x, y) is from (0, 0) in display coordinates."""
        dx, dy = self._to_display.transform((x, y)) - self._to_display.transform((0, 0))
        return dx, dy

    def get_image(self) -> np.ndarray:
        """Return the drawn image (h, w, 3) uint8, RGB."""
        renderer = self._canvas.get_renderer()
        pixels = np.asarray(renderer.buffer_rgba())
        pixels[..., :3], pixels[..., 3] = self._image, 255
        self.figure.draw(renderer)
        return pixels[..., :3].copy()


def escape(text: str) -> str:
    """Escape what matplotlib would read as a formula."""
    return text.replace("$", r"\$")
