"""The example of a server, with a client over HTTP."""

import base64
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import uvicorn
from PIL import Image

from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg_runtime import Prediction

EXAMPLE = Path(__file__).parents[2] / "docs/examples/server.py"


class SlowPredictor:
    """Predicts one segment, the whole image, after it was allowed to."""

    classes = ClassTable([SegmentClass("car", 0, 0, 26, "vehicle", (0, 0, 142))])

    def __init__(self) -> None:
        self.allowed = threading.Event()
        self.allowed.set()

    def __call__(self, image: np.ndarray) -> Prediction:
        assert self.allowed.wait(10)
        ids = np.full(image.shape[:2], 300, dtype=np.int32)
        info = {"id": 300, "category_id": 0, "isthing": True, "area": ids.size, "score": 0.5}
        return Prediction(np.zeros_like(ids), None, ids, [info])


@pytest.fixture
def served(load_script: Callable[[Path], ModuleType]) -> Iterator[tuple[str, SlowPredictor]]:
    """The address of a server, and its predictor."""
    predictor = SlowPredictor()
    app = load_script(EXAMPLE).make_app(predictor, queue=1, max_bytes=10_000)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", predictor
    server.should_exit = True
    thread.join()


def post(url: str, data: bytes) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method="POST"), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def encode(height: int, width: int, noise: bool = False) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256 if noise else 1, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_segments_come_with_ids_as_coco_codes_them(served) -> None:
    status, body = post(f"{served[0]}/panoptic", encode(3, 5))
    answer = json.loads(body)
    assert status == 200 and answer["segments_info"][0]["category_id"] == 26
    coded = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["png"]))))
    assert coded.shape == (3, 5, 3) and (coded == [300 - 256, 1, 0]).all()


def test_picture_has_the_size_of_the_image(served) -> None:
    status, body = post(f"{served[0]}/picture", encode(30, 50))
    assert status == 200 and Image.open(io.BytesIO(body)).size == (50, 30)


def test_large_and_unreadable_images_are_refused(served) -> None:
    assert post(f"{served[0]}/panoptic", encode(100, 100, noise=True))[0] == 413
    status, body = post(f"{served[0]}/panoptic", b"text")
    assert status == 400 and b"not a readable image" in body


def test_requests_beyond_the_queue_are_refused(served) -> None:
    url, predictor = served
    predictor.allowed.clear()
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(post, f"{url}/panoptic", encode(3, 5)) for _ in range(4)]
        while sum(answer.done() for answer in answers) < 2:
            time.sleep(0.01)
        predictor.allowed.set()
    assert sorted(answer.result()[0] for answer in answers) == [200, 200, 503, 503]
