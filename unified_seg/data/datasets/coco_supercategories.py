"""COCO's supercategories, which Detectron2's list of the 133 panoptic classes lacks.

Source: panoptic_coco_categories.json of github.com/cocodataset/panopticapi.
"""

THING_CATEGORIES = {
    "person": "person",
    "vehicle": "bicycle, car, motorcycle, airplane, bus, train, truck, boat",
    "outdoor": "traffic light, fire hydrant, stop sign, parking meter, bench",
    "animal": "bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe",
    "accessory": "backpack, umbrella, handbag, tie, suitcase",
    "sports": "frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, "
    "tennis racket",
    "kitchen": "bottle, wine glass, cup, fork, knife, spoon, bowl",
    "food": "banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake",
    "furniture": "chair, couch, potted plant, bed, dining table, toilet",
    "electronic": "tv, laptop, mouse, remote, keyboard, cell phone",
    "appliance": "microwave, oven, toaster, sink, refrigerator",
    "indoor": "book, clock, vase, scissors, teddy bear, hair drier, toothbrush",
}
STUFF_CATEGORIES = {
    "textile": "banner, blanket, curtain, pillow, towel, rug-merged",
    "building": "bridge, house, roof, tent, building-other-merged",
    "raw-material": "cardboard, paper-merged",
    "furniture-stuff": "counter, door-stuff, light, mirror-stuff, shelf, stairs, cabinet-merged, table-merged",
    "floor": "floor-wood, floor-other-merged",
    "plant": "flower, tree-merged, grass-merged",
    "food-stuff": "fruit, food-other-merged",
    "ground": "gravel, platform, playingfield, railroad, road, sand, snow, pavement-merged, dirt-merged",
    "structural": "net, fence-merged",
    "water": "river, sea, water-other",
    "wall": "wall-brick, wall-stone, wall-tile, wall-wood, wall-other-merged",
    "window": "window-blind, window-other",
    "ceiling": "ceiling-merged",
    "sky": "sky-other-merged",
    "solid": "mountain-merged, rock-merged",
}
