"""The program in the folder of an exported model that predicts images."""

from unified_seg_runtime import Description

PREDICT = '''"""Predict images: python predict.py photo.jpg ...

It needs {packages}.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from PIL import Image  # noqa: E402

from unified_seg_runtime import Predictor, draw_prediction, read_images  # noqa: E402

{network}
for image, picture in read_images(sys.argv[1:] or [FOLDER / "{example}"]):
    prediction = predictor(image)
    for segment in prediction.segments_info or []:
        found = predictor.classes.find_class(segment["category_id"], segment["isthing"])
        print(found.name, segment["area"], "pixels", segment.get("score", ""))
    Image.fromarray(draw_prediction(image, prediction, predictor.classes)).save(picture)
'''
RUN_TORCH = """import torch
import torchvision  # for its operators

graph = {load}


def run(image, size):
    with torch.no_grad():
        results = graph(torch.from_numpy(image), torch.from_numpy(size))
    return {{name: result.numpy() for name, result in zip({outputs}, results)}}


predictor = Predictor(FOLDER, run)"""
LOAD = {
    "torch_export": 'torch.export.load(FOLDER / "{graph}").module()',
    "torchscript": 'torch.jit.load(FOLDER / "{graph}")',
}


def write_program(form: Description, example: str) -> str:
    """Return the text of predict.py.

    Args:
        form: of the graph.
        example: the image of the folder, which is predicted if the user names none.
    """
    packages = "numpy, numba, Pillow and " + ("onnxruntime" if form.format == "onnx" else "torch, torchvision")
    network = "predictor = Predictor(FOLDER)"
    if form.format in LOAD:
        network = RUN_TORCH.format(load=LOAD[form.format].format(graph=form.graph), outputs=form.outputs)
    return PREDICT.format(packages=packages, network=network, example=example)
