"""The configuration keys of this project, on top of Detectron2's, with their defaults and when to change them.

The keys of a semantic head are in heads/<method>/keys.py.
"""

from functools import cache
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.projects.deeplab import add_deeplab_config

from unified_seg.config.heads import registered_heads

# The value of a key whose number of iterations follows from the length of the run.
AUTO = -1
# Detectron2's warm-up, if it is not more than a tenth of the run.
DEFAULT_WARMUP_ITERS = 1000


def add_unified_seg_config(cfg: CfgNode) -> None:
    """Add this project's keys, with their defaults, to Detectron2's."""
    # A GPU if PyTorch finds one; Detectron2's own default is "cuda" everywhere.
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

    _add_model(cfg)
    _add_backbones(cfg)
    for head in registered_heads().values():
        head.add_config(cfg)
    _add_input(cfg)
    _add_augmentation(cfg)
    _add_solver(cfg)
    _add_model_ema(cfg)
    _add_stages(cfg)
    _add_inference(cfg)

    # Read every label of the data sets before training and stop at the first invalid one. Turn it off for a huge
    # data set that was checked once.
    cfg.DATASETS.CHECK_LABELS = True

    # Your own data sets, each a dict of NAME, IMAGES and PANOPTIC, INSTANCES or SEMANTIC, or to predict alone of NAME
    # and IMAGES; docs/data.md has examples and all keys. DATASETS.TRAIN and DATASETS.TEST refer to them by NAME.
    cfg.DATASETS.CUSTOM = []

    # Training skips up to this number of images or labels that can't be read, then it stops; 0 stops at the first. They
    # are listed in OUTPUT_DIR/unreadable.txt.
    cfg.DATASETS.MAX_UNREADABLE = 10

    # Predictions that an evaluation writes for other tools: "coco_panoptic" (PNGs + JSON), "cityscapes_semantic" and
    # "cityscapes_instances" (for the benchmark's server). They need no ground truth.
    cfg.TEST.EXPORT = []

    # Write inference/report.html after the last evaluation of a training and with --eval-only: scores, errors and the
    # worst images on one page. It takes seconds; turn it off for many short runs.
    cfg.TEST.REPORT = True

    # Iterations from one evaluation during the training to the next. -1: a tenth of the run, at least 500, and in runs
    # below 1000 only at the end, as 0 always does. Raise it if evaluations take a large share of the time.
    cfg.TEST.EVAL_PERIOD = AUTO
    # Iterations from one drawing of predictions for TensorBoard to the next. -1: with the evaluations; 0: none.
    cfg.VIS_PERIOD = AUTO
    # Keep the weights of the best evaluation as model_best.pth: a metric such as "sem_seg/mIoU", "segm/AP" or
    # "panoptic_seg/PQ" (with several test sets "dataset/sem_seg/mIoU"). "auto": PQ, mIoU or AP, the first that the
    # first test set has, if it is evaluated during the training; "" keeps none. Set it if another score matters to you.
    cfg.TEST.BEST_CHECKPOINT_METRIC = "auto"


def _add_model(cfg: CfgNode) -> None:
    # Names of the semantic classes. They come from the data set, as NUM_CLASSES does.
    cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES = []

    # The loss of a semantic head's pixels, cross-entropy by default; a factor or a choice of pixels for hard cases.
    cfg.MODEL.SEM_SEG_HEAD.LOSS = CfgNode()
    # A weight of each class, in the order of CLASS_NAMES; empty: 1. For classes whose errors cost more.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS = []
    # Weights from the training images: (median frequency / frequency of the class) ** power (Eigen and Fergus, 2015). 1
    # in SegNet for CamVid, 0.5 favors rare classes less, 0 = off. If rare classes are missed.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER = 0.0
    # The share of these weights, from 0 to 1, that predictions do not have: the loss adds it times log(weight) to the
    # logits. 1 if weights make rare classes appear where they are absent; 0 if missing them costs more.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.UNDO_WEIGHTS = 0.0
    # gamma of the focal loss, 2 in its paper: pixels that are right already count less; 0 = off. If many easy pixels
    # drown a few hard ones.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.FOCUS = 0.0
    # Count only this share of a batch's pixels, those with the largest loss, as DeepLab's hard pixel mining (0.2) does;
    # 0 = all. For long trainings, and not while labels have many errors.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.HARD_SHARE = 0.0
    # Weight of the Dice loss, which is added: each class counts the same, however few pixels it has; 0 = off. For a few
    # classes of very different size, such as lesions.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.DICE = 0.0

    # An empty name leaves a part out: MODEL.PROPOSAL_GENERATOR.NAME and MODEL.ROI_HEADS.NAME (the detector),
    # MODEL.SEM_SEG_HEAD.NAME, MODEL.PANOPTIC_FUSION.NAME. NUM_CLASSES of both heads comes from the data set.
    cfg.MODEL.UNIFIED = CfgNode()
    # "detectron2": for the evaluators and visualizers of Detectron2: `sem_seg` (K, H, W) and full-size `pred_masks`.
    # "compact": `sem_seg_labels` (H, W) and masks cropped to their boxes; the same predictions in a fraction of the
    # memory.
    cfg.MODEL.UNIFIED.OUTPUT = "detectron2"

    # Train although frozen layers (MODEL.BACKBONE.FREEZE_AT, SOLVER.TRAIN_PARTS) have random weights, as MODEL.WEIGHTS
    # is empty or lacks them. For experiments with random features; from scratch set FREEZE_AT 0 instead.
    cfg.MODEL.UNIFIED.ALLOW_RANDOM_FROZEN = False

    # How maps lie in memory: "channels_last", "contiguous", or "auto": channels_last on CPUs with instructions for
    # bfloat16, which are faster with it. Results differ by rounding. On GPUs try "channels_last" with
    # SOLVER.AMP.ENABLED.
    cfg.MODEL.UNIFIED.MEMORY_FORMAT = "auto"
    # Precision of the network on CPUs, in training and inference: "float32", "bfloat16", or "auto": bfloat16 on CPUs
    # with instructions for it (AVX512-BF16, AMX). Parameters stay float32. "float32" for the same results on every
    # CPU; on GPUs SOLVER.AMP is in effect instead.
    cfg.MODEL.UNIFIED.CPU_PRECISION = "auto"

    # Keep the running statistics of the backbone's BatchNorm as loaded, and train its gamma and beta (fusion_scheme,
    # III.C). For pretrained weights and batches too small for statistics of their own; needs
    # MODEL.RESNETS.NORM "BN". From scratch leave it off.
    cfg.MODEL.BACKBONE.FREEZE_BN_STATISTICS = False

    cfg.MODEL.PANOPTIC_FUSION = CfgNode()
    # A name of PANOPTIC_FUSION_REGISTRY: "EvidenceFusion", which weighs masks and semantic map by how sure and how fine
    # they are, and "SemanticGuidedFusion" (fusion_scheme, IV) also refine the semantic map and the masks;
    # "ScoreOrderFusion" is Kirillov's merge. All read
    # MODEL.PANOPTIC_FPN.COMBINE.{OVERLAP_THRESH, INSTANCES_CONFIDENCE_THRESH} as Detectron2 does; the merge also
    # STUFF_AREA_LIMIT there (in pixels: 4096 suits 1024x2048, make it smaller with the images).
    cfg.MODEL.PANOPTIC_FUSION.NAME = ""
    # Of the first two fusions, as the two keys below; the paper gives no numbers. Areas are fractions of the image.
    # Stuff of a smaller area becomes void; 0.002 is Detectron2's 4096 pixels at 1024x2048. Lower it if small stuff
    # matters (such as single poles).
    cfg.MODEL.PANOPTIC_FUSION.MIN_STUFF_AREA = 0.002
    # Foreground that no instance reaches becomes an instance of its own if its area is at least this. Raise it if the
    # semantic map has noise, lower it for small objects.
    cfg.MODEL.PANOPTIC_FUSION.MIN_SEGMENT_AREA = 0.0005
    # 4, or 8 to let instances grow through diagonal contacts too (structures of one pixel width).
    cfg.MODEL.PANOPTIC_FUSION.CONNECTIVITY = 4


def _add_backbones(cfg: CfgNode) -> None:
    # Of build_dilated_resnet_backbone, 8 or 16: input pixels per pixel of res5. 16 costs a quarter in res5 and loses
    # small objects. RESNETS.OUT_FEATURES must name what the heads read: [res4, res5].
    cfg.MODEL.BACKBONE.OUTPUT_STRIDE = 8

    cfg.MODEL.TIMM = CfgNode()
    # Of build_timm_backbone and build_timm_fpn_backbone: "hrnet_w18", "hrnet_w32", "hrnet_w48" or another network of
    # timm that returns its features.
    cfg.MODEL.TIMM.NAME = "hrnet_w48"
    # Fetch timm's ImageNet weights, unless MODEL.WEIGHTS names some; give it RGB input, as
    # configs/base/imagenet_r50.yaml does (docs/weights.md has other sources of weights).
    cfg.MODEL.TIMM.PRETRAINED = False
    # "SyncBN": the batch statistics of its BatchNorms over all GPUs, for a few images on each; "BN": timm's default.
    cfg.MODEL.TIMM.NORM = "BN"
    # Of build_timm_backbone, 8 or 16: input pixels per pixel of res5; the late stages are dilated, as for PSPHead. 32:
    # no dilation, for an FPN. HRNet can't be dilated.
    cfg.MODEL.TIMM.OUTPUT_STRIDE = 32

    cfg.MODEL.LIGHT_DECODER = CfgNode()
    # Of build_light_decoder_backbone: channels to which the stages of the ResNet are brought, from fine to coarse;
    # those of HRNet-W48. Narrower is faster.
    cfg.MODEL.LIGHT_DECODER.WIDTHS = [48, 96, 192, 384]
    # A norm that Detectron2 knows; "SyncBN" is the paper's.
    cfg.MODEL.LIGHT_DECODER.NORM = "GN"


def _add_input(cfg: CfgNode) -> None:
    # "BGR", "RGB" and "YUV-BT.601" with three values in MODEL.PIXEL_MEAN and PIXEL_STD, "L" (gray) with one, "RGBA"
    # with four; "BANDS" reads the channels of the files as they are, as many as there are values, such as TIFFs of 12
    # bands.
    cfg.INPUT.FORMAT = "BGR"
    # Lowest and highest value of images with more than 8 bits, such as [0, 4095] of a camera with 12 bits in files of
    # 16, or [-1024, 3071]: they become 0 and 255. []: what a file declares (TIFF's SMinSampleValue and SMaxSampleValue
    # or BitsPerSample), else DEFAULT_VALUE_RANGE. Set it if what files declare is wrong.
    cfg.INPUT.VALUE_RANGE = []
    # The range of files that declare none. A training finds it in its images, logs it and writes it into its
    # checkpoints, from which evaluation and prediction take it; set it only to predict with weights of elsewhere.
    cfg.INPUT.DEFAULT_VALUE_RANGE = []
    # Percentiles of each image's own values that become 0 and 255, such as [1, 99.8]. For microscopes and other cameras
    # whose exposure varies from image to image; not for photographs, whose brightness means something. []: off.
    cfg.INPUT.STRETCH_PERCENTILES = []
    # Larger images (and sizes in annotation files) are refused: a damaged or malicious file of a few kilobytes can
    # claim more pixels than memory holds. Raise it for larger images, with sliding windows (TEST.WINDOW.SIZE).
    cfg.INPUT.MAX_PIXELS = 89_478_485


def _add_augmentation(cfg: CfgNode) -> None:
    """Add the augmentations of training images, beside Detectron2's own; each is off by default."""
    # Range of a factor on the size that MIN_SIZE_TRAIN and MAX_SIZE_TRAIN give (the limit holds before the factor).
    # PSPNet's is [0.5, 2.0] on the image's own size, MIN_SIZE_TRAIN (0,).
    cfg.INPUT.RANDOM_SCALE = [1.0, 1.0]
    # 0 draws any factor of the range; 0.25 only the lowest, that + 0.25, ... as DeepLab does.
    cfg.INPUT.RANDOM_SCALE_STEP = 0.0

    cfg.INPUT.ROTATION = CfgNode()
    # Largest angle to either side; PSPNet's is 10 on ADE20K and VOC. For data without a fixed upright direction; the
    # corners that come in are void.
    cfg.INPUT.ROTATION.DEGREES = 0.0
    # Share of the images that are rotated.
    cfg.INPUT.ROTATION.PROB = 0.5

    cfg.INPUT.BLUR = CfgNode()
    # Share of the images that are blurred; PSPNet's is 0.5 on ADE20K and VOC. For data of mixed sharpness.
    cfg.INPUT.BLUR.PROB = 0.0
    # Odd size of the Gaussian's window in pixels, which sets its sigma (1 pixel for 5). Raise it with the images.
    cfg.INPUT.BLUR.KERNEL = 5

    # Range of a factor on the pixel values, such as [0.8, 1.2] if the light varies.
    cfg.INPUT.BRIGHTNESS = [1.0, 1.0]
    # Range of a factor on the difference from the image's mean, such as [0.7, 1.3] if haze and shadows vary.
    cfg.INPUT.CONTRAST = [1.0, 1.0]
    # Range of a factor on the difference from gray, such as [0.7, 1.3] if cameras differ; "BGR" and "RGB" only.
    cfg.INPUT.SATURATION = [1.0, 1.0]

    # With CROP.TYPE "absolute": pad images that are smaller than the crop to its full size, with void and the pixel
    # mean. Turn it on with small scales, so that all images of a batch have one size.
    cfg.INPUT.CROP.PAD = False
    # Draw a crop again (up to ten times) while one class covers this share of it or more; 1 = take the first.
    # Detectron2's DeepLab has this key too.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0


def _add_solver(cfg: CfgNode) -> None:
    # "SGD", "ADAM" or "ADAMW". AdamW is faster from scratch.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Length of the training in epochs, in place of MAX_ITER: how often each training image is read. 0: MAX_ITER. In one
    # file or command line only one of both can be given. Use it if the number of your images changes.
    cfg.SOLVER.EPOCHS = 0.0
    # Where WarmupMultiStepLR lowers the learning rate, as fractions of the run, such as [0.67, 0.89]; empty: the
    # iterations of SOLVER.STEPS.
    cfg.SOLVER.STEP_FRACTIONS = []
    # Iterations in which the learning rate rises to BASE_LR. -1: 1000, at most a tenth of the run.
    cfg.SOLVER.WARMUP_ITERS = AUTO
    # Process the images of a batch in so many parts, one after another, and add up their gradients before the step: the
    # result of the whole batch (but for BatchNorm's statistics and some losses, see docs/training.md) in the memory of
    # a part. IMS_PER_BATCH, learning rate and iterations stay. Raise it if a batch does not fit into memory.
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    cfg.SOLVER.EARLY_STOPPING = CfgNode()
    # Stop when TEST.BEST_CHECKPOINT_METRIC has not risen in so many evaluations; 0: never. For trainings of unknown
    # length on few images; model_best.pth has the best weights.
    cfg.SOLVER.EARLY_STOPPING.PATIENCE = 0
    # A rise of the metric counts if it is larger than this, in the unit of the metric (percent).
    cfg.SOLVER.EARLY_STOPPING.MIN_DELTA = 0.0
    # Delete all but the last so many checkpoints of SOLVER.CHECKPOINT_PERIOD; 0 keeps all. model_best.pth,
    # model_final.pth and the checkpoint from which a run was resumed stay. For large models on small disks; 2 or more,
    # so that a training that diverges can go back.
    cfg.SOLVER.KEEP_CHECKPOINTS = 0
    # Where the curves go beside metrics.json and metrics.csv: "tensorboard", "wandb" (Weights & Biases), "mlflow".
    # Packages of the last two are installed by you: pip install wandb, pip install mlflow.
    cfg.SOLVER.WRITERS = ["tensorboard"]
    # True: one kernel updates all parameters, on a CPU in a fifth of the time of ADAM and ADAMW. Weights differ by
    # rounding, so a run is repeated exactly only with the same value. Not with SOLVER.CLIP_GRADIENTS.
    cfg.SOLVER.FUSED = False
    # Multiplies the learning rate of everything but the pretrained backbone (of an FPN: its bottom_up). PSPNet's
    # released code has 10 for new heads on ImageNet weights; 1 from scratch, or if the heads are pretrained too.
    cfg.SOLVER.NEW_LAYERS_LR_FACTOR = 1.0
    # Factors of the learning rate of single modules, by their paths in the printed model: [["backbone", 0.1]]. Of those
    # that contain a parameter the last one holds. For fine-tuning; 0 is not allowed, TRAIN_PARTS freezes.
    cfg.SOLVER.LR_FACTORS = []
    # With CLIP_GRADIENTS.ENABLED: "value" limits each number of a gradient to CLIP_VALUE, "norm" the norm of each
    # parameter, "full_model" the norm over all parameters, as papers on transformers do.
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "value"
    # Detectron2's WarmupMultiStepLR and WarmupCosineLR, or "WarmupPolyLR" (the papers' "poly") or "WarmupLinearLR"
    # (poly of power 1).
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupMultiStepLR"
    # Of WarmupPolyLR: the rate falls by (1 - share of the run) ** power.
    cfg.SOLVER.POLY_LR_POWER = 0.9
    # Detectron2's DeepLab has this key too: a constant multiplier that replaces the schedule's very end, where lr
    # would vanish. 0 = the plain schedule.
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 0.0
    # Write the weights also as model_final.safetensors and model_best.safetensors, beside the .pth files: a format
    # without pickles, which other programs read. Turn it on to publish weights; --resume needs the .pth files.
    cfg.SOLVER.SAFETENSORS = False
    # With SOLVER.AMP.ENABLED: "float16" (with loss scaling; CUDA only) or "bfloat16" (Ampere and newer, and CPUs).
    cfg.SOLVER.AMP.PRECISION = "float16"


def _add_model_ema(cfg: CfgNode) -> None:
    """Add the keys of the exponential moving average of the weights, by their names in D2Go."""
    cfg.MODEL_EMA = CfgNode()
    # Evaluate and save the average in place of the trained weights. It smooths the last steps, as a decay of the
    # learning rate does: for constant rates, small batches and short trainings.
    cfg.MODEL_EMA.ENABLED = False
    # The share of the average that stays at each step: 0.999 averages some 1,000 steps, or a tenth of the steps so far
    # if that is less. Raise it for long trainings.
    cfg.MODEL_EMA.DECAY = 0.999


def _add_stages(cfg: CfgNode) -> None:
    # The trained parts of the model, by the names of its modules ("backbone", "sem_seg_head.error_branch" ...); all
    # others stay as loaded, bit by bit. Empty: everything is trained.
    cfg.SOLVER.TRAIN_PARTS = []
    # Trainings to run one after another, each on the weights of the one before, by their names in STAGES; empty: one
    # training.
    cfg.SOLVER.STAGES = []
    # The keys of a stage, by its name, that differ from the others (STAGES.error.SOLVER.MAX_ITER: 60000 ...), and
    # RESULT: weights trained elsewhere, in place of training the stage.
    cfg.STAGES = CfgNode(new_allowed=True)


def _add_inference(cfg: CfgNode) -> None:
    # The scales of TEST.AUG.ENABLED: factors of the size that INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST give (PSPNet's are
    # 0.5, 0.75, 1, 1.25, 1.5, 1.75), with AUG.FLIP mirrored too. Empty: the sizes of AUG.MIN_SIZES and AUG.MAX_SIZE.
    # For --eval-only, predictions and the demo: evaluations during a training would take too long.
    cfg.TEST.AUG.SCALES = []

    # Images that the model predicts at the same time on a CPU, each with a share of the cores. 0: one for each core, at
    # most 4. Less takes less memory.
    cfg.TEST.IMAGES_AT_ONCE = 0

    cfg.TEST.WINDOW = CfgNode()
    # The semantic head processes images larger than this side, in pixels of the network's input, in square windows: the
    # key that bounds memory. A multiple of the network's stride, best the size of the training crops; 0 = no windows.
    cfg.TEST.WINDOW.SIZE = 0
    # Share of a window that its neighbor covers again, where their probabilities are averaged: PSPNet's third. Less is
    # faster, more hides the borders of windows.
    cfg.TEST.WINDOW.OVERLAP = 1 / 3


def get_config() -> CfgNode:
    """Return Detectron2's default config with the keys of its DeepLab project and of this project."""
    return get_defaults().clone()


def get_defaults() -> CfgNode:
    """Return what `get_config` returns, to read it: all callers share it."""
    # A head that is registered later adds its keys.
    return _build_defaults(tuple(registered_heads().values()), torch.cuda.is_available())


@cache
def _build_defaults(*_: Any) -> CfgNode:
    cfg = get_cfg()
    # First, since this project has some of its keys too.
    add_deeplab_config(cfg)
    add_unified_seg_config(cfg)
    return cfg
