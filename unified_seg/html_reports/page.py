"""HTML pages that need no other file: one template, one style, and pictures inside the page."""

import base64
import hashlib
import io
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image

from unified_seg_files import write_bytes

UNKNOWN = "–"
#: Wider pictures are shrunk to this width in pixels.
MAX_WIDTH = 1000
STYLE, SCRIPT = "style.css", "tables.js"


class Picture(NamedTuple):
    """A picture of a page.

    Attributes:
        source: a data URI, so that the page needs no other file.
        caption: below the picture.
    """

    source: str
    caption: str


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill a template that extends base.html.j2, and write the page; a reader meanwhile finds the older one.

    Args:
        path: its folder is made if need be.
        template: its name, relative to this package.
        values: of the template. Texts are escaped, so names may be anything.

    Raises:
        OSError: the file can't be written.
    """
    loader = PackageLoader("unified_seg", "html_reports")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = lambda value: UNKNOWN if value is None else f"{value:,}"
    style, script = (
        resources.files(__package__).joinpath(name).read_text(encoding="utf-8") for name in (STYLE, SCRIPT)
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(template).render(**values, style=style, script=script, script_digest=digest)
    # File names may hold bytes that are not valid Unicode.
    write_bytes(path, page.encode("utf-8", "backslashreplace"))


def encode_jpeg(pixels: np.ndarray, quality: int = 88) -> str:
    """Return a data URI of (h, w, 3) uint8 RGB pixels, which are shrunk to MAX_WIDTH if they are wider."""
    image = Image.fromarray(pixels)
    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return encode_as_uri("jpeg", buffer.getvalue())


def encode_svg(document: str) -> str:
    """Return a data URI of an SVG document."""
    return encode_as_uri("svg+xml", document.encode())


def encode_as_uri(image_type: str, content: bytes) -> str:
    """Return a data URI of an image whose MIME type is image/<image_type>."""
    return f"data:image/{image_type};base64,{base64.b64encode(content).decode()}"
