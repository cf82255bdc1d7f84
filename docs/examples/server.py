"""A small server for an exported model: image in, COCO panoptic segments or a picture out.

    pip install fastapi uvicorn numpy numba Pillow onnxruntime
    MODEL=exported python docs/examples/server.py
    curl --data-binary @street.jpg http://localhost:8000/panoptic          (JSON: segments_info, and ids as a PNG)
    curl --data-binary @street.jpg http://localhost:8000/picture -o drawn.png

It predicts one image at a time. Up to QUEUE further requests wait; the next ones are refused (503), so that memory is
bounded. It has no users and no encryption: put it behind a proxy that has them.
"""

import asyncio
import base64
import io
import os

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from PIL import Image

from unified_seg_runtime import ImageError, Prediction, Predictor, decode_image, draw_prediction

QUEUE = 8
MAX_BYTES = 20 << 20
MAX_PIXELS = 16 << 20


def make_app(predictor: Predictor, queue: int = QUEUE, max_bytes: int = MAX_BYTES) -> FastAPI:
    """Return the server of a model with a panoptic fusion."""
    app, lock, waiting = FastAPI(), asyncio.Lock(), asyncio.Semaphore(queue + 1)

    async def predict(request: Request) -> tuple[np.ndarray, Prediction]:
        if waiting.locked():
            raise HTTPException(503, "too many requests wait; try again later", {"Retry-After": "1"})
        async with waiting:
            data = bytearray()
            async for part in request.stream():
                data += part
                if len(data) > max_bytes:
                    raise HTTPException(413, f"the image is larger than {max_bytes:,} bytes")
            async with lock:
                try:
                    image = await asyncio.to_thread(decode_image, bytes(data), MAX_PIXELS)
                    return image, await asyncio.to_thread(predictor, image)
                except ImageError as error:
                    raise HTTPException(400, str(error)) from None

    @app.post("/panoptic")
    async def panoptic(request: Request) -> dict:
        _, prediction = await predict(request)
        return to_coco(prediction, predictor)

    @app.post("/picture")
    async def picture(request: Request) -> Response:
        image, prediction = await predict(request)
        drawn = await asyncio.to_thread(draw_prediction, image, prediction, predictor.classes)
        return Response(encode_png(drawn), media_type="image/png")

    return app


def to_coco(prediction: Prediction, predictor: Predictor) -> dict:
    """Return segments with the category ids of the data set, and their ids as COCO codes them in a PNG."""
    ids = prediction.panoptic_ids
    coded = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    segments = []
    for each in prediction.segments_info:
        found = predictor.classes.find_class(each["category_id"], each["isthing"])
        segment = {"id": each["id"], "category_id": found.dataset_id, "isthing": each["isthing"], "iscrowd": 0}
        segments.append({**segment, "name": found.name, "area": each["area"], "score": each.get("score")})
    return {"segments_info": segments, "png": base64.b64encode(encode_png(coded)).decode()}


def encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    uvicorn.run(make_app(Predictor(os.environ["MODEL"])), port=8000)
