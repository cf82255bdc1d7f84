"""Every configuration key of this project, on top of Detectron2's, with its default and when to change it."""

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.projects.deeplab import add_deeplab_config


def add_unified_seg_config(cfg: CfgNode) -> None:
    """Add this project's keys, with their defaults, to Detectron2's."""
    # Whatever this machine has; Detectron2's own default is "cuda" everywhere.
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

    _add_model(cfg)
    _add_asp_refinement(cfg)
    _add_psp(cfg)
    _add_dense_prediction_cell(cfg)
    _add_pyramidal_output(cfg)
    _add_error_correction(cfg)
    _add_confusion(cfg)
    _add_augmentation(cfg)
    _add_solver(cfg)
    _add_stages(cfg)
    _add_inference(cfg)

    # Read every label of the data sets before training and stop at the first wrong one. Turn it off for a huge data
    # set that was checked once.
    cfg.DATASETS.CHECK_LABELS = True

    # Your own data sets, each a dict of NAME, IMAGES and PANOPTIC, INSTANCES or SEMANTIC; docs/data.md has examples and
    # all keys. DATASETS.TRAIN and DATASETS.TEST mean them by NAME.
    cfg.DATASETS.CUSTOM = []

    # Training goes on without images or labels that turn out to be damaged; above so many it stops. 0 stops at the
    # first. They are listed in OUTPUT_DIR/unreadable.txt.
    cfg.DATASETS.MAX_UNREADABLE = 10

    # Files that an evaluation writes for others to read: "coco_panoptic" (PNGs + JSON), "cityscapes_semantic" and
    # "cityscapes_instances" (what the benchmark's server takes). They need no ground truth.
    cfg.TEST.EXPORT = []

    # Keep the weights of the best evaluation as model_best.pth: a metric such as "sem_seg/mIoU", "segm/AP" or
    # "panoptic_seg/PQ" (with several test sets "dataset/sem_seg/mIoU"). Needs TEST.EVAL_PERIOD; "" keeps none.
    cfg.TEST.BEST_CHECKPOINT_METRIC = ""


def _add_model(cfg: CfgNode) -> None:
    # A part is left out by an empty name: MODEL.PROPOSAL_GENERATOR.NAME and MODEL.ROI_HEADS.NAME (the detector),
    # MODEL.SEM_SEG_HEAD.NAME, MODEL.PANOPTIC_FUSION.NAME. NUM_CLASSES of both heads comes from the data set.
    cfg.MODEL.UNIFIED = CfgNode()
    # "detectron2": what other people's evaluators and visualizers read: `sem_seg` (K, H, W) and full-size `pred_masks`.
    # "compact": `sem_seg_labels` (H, W) and masks cropped to their boxes; the same answers in a fraction of the memory.
    cfg.MODEL.UNIFIED.OUTPUT = "detectron2"

    # Keep the running statistics of the backbone's BatchNorm as the weights brought them and learn its gamma and beta
    # (fusion_scheme, III.C). For pretrained weights and batches too small for statistics of their own; needs
    # MODEL.RESNETS.NORM "BN". From scratch leave it off.
    cfg.MODEL.BACKBONE.FREEZE_BN_STATISTICS = False

    cfg.MODEL.PANOPTIC_FUSION = CfgNode()
    # A name of PANOPTIC_FUSION_REGISTRY: "SemanticGuidedFusion" (fusion_scheme, IV), which also refines the semantic
    # map and the masks, or "ScoreOrderFusion", Kirillov's merge. Both read
    # MODEL.PANOPTIC_FPN.COMBINE.{OVERLAP_THRESH, INSTANCES_CONFIDENCE_THRESH} as Detectron2 does; the merge also
    # STUFF_AREA_LIMIT there (in pixels: 4096 suits 1024x2048, make it smaller with the images).
    cfg.MODEL.PANOPTIC_FUSION.NAME = ""
    # The keys below are SemanticGuidedFusion's; the paper gives no numbers. Areas are fractions of the image.
    # Stuff of a smaller area becomes void; 0.002 is Detectron2's 4096 pixels at 1024x2048. Lower it where small stuff
    # matters (poles alone in a narrow view).
    cfg.MODEL.PANOPTIC_FUSION.MIN_STUFF_AREA = 0.002
    # Foreground that no instance reaches becomes an instance of its own from this area on. Raise it where the semantic
    # map has noise, lower it for small objects.
    cfg.MODEL.PANOPTIC_FUSION.MIN_SEGMENT_AREA = 0.0005
    # 4, or 8 to let instances grow through diagonal contacts too (one pixel wide structures).
    cfg.MODEL.PANOPTIC_FUSION.CONNECTIVITY = 4
    # A found instance's score is this times the mean probability of its label. 0 ranks it below every detection, so
    # that AP can't fall; try up to 1 where detections are often missed.
    cfg.MODEL.PANOPTIC_FUSION.FOUND_SCORE_FACTOR = 0.0


def _add_asp_refinement(cfg: CfgNode) -> None:
    """ASPRefinementHead (fusion_scheme, III.B); CONVS_DIM 128, NORM "GN" and COMMON_STRIDE 4 are the paper's too."""
    cfg.MODEL.SEM_SEG_HEAD.ASP_REFINEMENT = CfgNode()
    node = cfg.MODEL.SEM_SEG_HEAD.ASP_REFINEMENT
    # Atrous spatial pyramid on the two coarsest levels; off: two 3x3 convolutions there as elsewhere (the baseline).
    node.ASP = True
    # Dilation of the three 3x3 branches. At small inputs most taps of the coarsest level fall outside the map
    # (128x256 gives it 4x8 cells): scale the rates down with the input.
    node.RATES = [6, 12, 18]
    # Width of each branch; the paper leaves it open.
    node.BRANCH_DIM = 128
    # Refinement pyramid: each level adds to the sum of the coarser ones; off: levels are only concatenated.
    node.REFINEMENT = True


def _add_psp(cfg: CfgNode) -> None:
    """PSPHead and its backbone; CONVS_DIM 512, NORM "SyncBN" and COMMON_STRIDE 8 are the paper's too."""
    # Of build_dilated_resnet_backbone, 8 or 16: input pixels per pixel of res5. 16 costs a quarter in res5 and loses
    # small things. RESNETS.OUT_FEATURES must name what the heads read: [res4, res5].
    cfg.MODEL.BACKBONE.OUTPUT_STRIDE = 8

    cfg.MODEL.SEM_SEG_HEAD.PSP = CfgNode()
    node = cfg.MODEL.SEM_SEG_HEAD.PSP
    # Sides of the grids that the coarsest feature is pooled to; [] is the baseline, a dilated FCN.
    node.BINS = [1, 2, 3, 6]
    # "average", or "max" (0.4 to 0.9 points of mIoU worse in the paper, Table 1).
    node.POOL = "average"
    # A 1x1 convolution brings each pooled map to 1/len(BINS) of the channels; off: they are concatenated as they are.
    node.REDUCTION = True
    # Before the classifiers; raise it for a small data set.
    node.DROPOUT = 0.1
    # What the auxiliary loss looks at, a feature before the last: "p4" for instance on an FPN.
    node.AUX_FEATURE = "res4"
    # Width of the auxiliary classifier, half of CONVS_DIM.
    node.AUX_CONVS_DIM = 256
    # 0 for no auxiliary loss; the paper tried 0.3 to 0.9 (Table 2).
    node.AUX_LOSS_WEIGHT = 0.4


def _add_dense_prediction_cell(cfg: CfgNode) -> None:
    """DPCHead; CONVS_DIM 256 is the paper's."""
    cfg.MODEL.SEM_SEG_HEAD.DPC = CfgNode()
    node = cfg.MODEL.SEM_SEG_HEAD.DPC
    # Width of each of the cell's five branches. Narrower is faster.
    node.BRANCH_DIM = 256
    # Before the classifier; raise it for a small data set.
    node.DROPOUT = 0.1


def _add_augmentation(cfg: CfgNode) -> None:
    """Training images only, beside Detectron2's MIN_SIZE_TRAIN, CROP and RANDOM_FLIP; each is off by default."""
    # Range of a factor on the size that MIN_SIZE_TRAIN and MAX_SIZE_TRAIN give (the limit holds before the factor).
    # PSPNet's is [0.5, 2.0] on the image's own size, MIN_SIZE_TRAIN (0,).
    cfg.INPUT.RANDOM_SCALE = [1.0, 1.0]
    # 0 draws any factor of the range; 0.25 only the lowest, that + 0.25, ... as DeepLab does.
    cfg.INPUT.RANDOM_SCALE_STEP = 0.0

    cfg.INPUT.ROTATION = CfgNode()
    # Largest angle to either side; PSPNet's is 10 on ADE20K and VOC. For data whose upright is uncertain; the corners
    # that come in are void.
    cfg.INPUT.ROTATION.DEGREES = 0.0
    # Share of the images that are rotated.
    cfg.INPUT.ROTATION.PROB = 0.5

    cfg.INPUT.BLUR = CfgNode()
    # Share of the images that are blurred; PSPNet's is 0.5 on ADE20K and VOC. For data of mixed sharpness.
    cfg.INPUT.BLUR.PROB = 0.0
    # Odd size of the Gaussian's window in pixels, which sets its sigma (1 pixel for 5). Raise it with the images.
    cfg.INPUT.BLUR.KERNEL = 5

    # Range of a factor on the pixel values, such as [0.8, 1.2] where the light changes.
    cfg.INPUT.BRIGHTNESS = [1.0, 1.0]

    # With CROP.TYPE "absolute": pad images that are smaller than the crop to its full size, with void and the pixel
    # mean. Turn it on with small scales, so that all images of a batch have one size.
    cfg.INPUT.CROP.PAD = False
    # Draw a crop again (up to ten times) while one class covers this share of it or more; 1 = take the first.
    # Detectron2's DeepLab has this key too.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0


def _add_pyramidal_output(cfg: CfgNode) -> None:
    """PyramidalOutputHead and its backbones; CONVS_DIM 512 (D_s), NORM "SyncBN" and COMMON_STRIDE 4 are the paper's."""
    cfg.MODEL.SEM_SEG_HEAD.PYRAMID = CfgNode()
    node = cfg.MODEL.SEM_SEG_HEAD.PYRAMID
    # Of the levels, from coarse to fine; each a multiple of the next, the last COMMON_STRIDE. [32, 4] is nearly as good
    # in the paper.
    node.STRIDES = [32, 16, 8, 4]
    # D_u, width of the unity pyramid.
    node.UNITY_DIM = 64
    # "coarse_to_fine" (4.2), "none", or for comparison "anl" and "anl_multi" (Table 6).
    node.CONTEXT = "coarse_to_fine"
    # Which cells a level leaves to coarser ones in training: under cells that are one class, "truth"; that are and are
    # seen to be, "true_positives"; or "none" (Table 7).
    node.RELABELLING = "true_positives"
    # Probability from which on a cell is taken to be one class. Lower it to decide more at coarse levels.
    node.THRESHOLD = 0.9
    # "finest": learn the pyramid, answer by the finest level alone (Table 8); "single": without a pyramid (Table 6).
    node.OUTPUT = "pyramidal"

    cfg.MODEL.TIMM = CfgNode()
    # Of build_timm_backbone and build_timm_fpn_backbone: "hrnet_w18", "hrnet_w32", "hrnet_w48" or another network of
    # timm that gives its features.
    cfg.MODEL.TIMM.NAME = "hrnet_w48"
    # Fetch timm's ImageNet weights, unless MODEL.WEIGHTS names some; give it RGB input, as
    # configs/base/imagenet_r50.yaml has it.
    cfg.MODEL.TIMM.PRETRAINED = False
    # "SyncBN": the batch statistics of its BatchNorms over all GPUs, for a few images on each; "BN": as timm has them.
    cfg.MODEL.TIMM.NORM = "BN"

    cfg.MODEL.LIGHT_DECODER = CfgNode()
    # Of build_light_decoder_backbone: channels that the stages of the ResNet are brought to, from fine to coarse; those
    # of HRNet-W48. Narrower is faster.
    cfg.MODEL.LIGHT_DECODER.WIDTHS = [48, 96, 192, 384]
    # Any norm that Detectron2 knows; "SyncBN" is the paper's.
    cfg.MODEL.LIGHT_DECODER.NORM = "GN"


def _add_error_correction(cfg: CfgNode) -> None:
    """ErrorCorrectionHead, around another head; COMMON_STRIDE and the like are those of the head inside."""
    cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION = CfgNode()
    node = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION
    # The head whose errors are predicted and corrected, by its name in the registry.
    node.BASE = ""
    # What the detail branch looks at, from coarse to fine, one decoder block each. Of an FPN: p4, p3, p2.
    node.DETAIL_FEATURES = ["res4", "res3", "res2"]
    # Width of the error branch, which the paper leaves open. Narrower is faster.
    node.ERROR_DIM = 64
    # Width of the detail branch; the paper says that its weights take 11.6 MB, as 128 channels do on a ResNet-50.
    node.DETAIL_DIM = 128
    # Any norm that Detectron2 knows, of both branches. "", none, where they learn for a few thousand iterations.
    node.NORM = "GN"
    # Of the channel attention: "sigmoid" or "relu"; published versions disagree.
    node.GATE = "sigmoid"
    # An error of which the head inside is surer than this is a hard one, 0 to 1.
    node.HARD_CONFIDENCE = 0.95
    # Weight of hard errors in the error branch's loss, where easy ones have 1. Raise it for more of them, and more
    # false alarms.
    node.HARD_WEIGHT = 1.5
    # Error probability above which a pixel is taken to be wrong: it is learned by the detail branch and corrected.
    node.THRESHOLD = 0.7
    # Which pixels are taken to be wrong, and corrected: "predicted", of the error branch, or for comparison "unsure",
    # of which the head inside is not surer than HARD_CONFIDENCE (layer cascade).
    node.ERRORS = "predicted"
    # What the detail branch learns from: the "errors", or for comparison "all" pixels or the "hardest" fifth of them.
    node.LEARN = "errors"
    # "corrected"; or for comparison and before the detail branch is trained "base", the answer of the head inside;
    # "detail", that of the detail branch everywhere; "average", the mean of the two.
    node.OUTPUT = "corrected"
    # In inference the last decoder block answers only where pixels are taken to be wrong. Off: everywhere, as in
    # training; slower, and the same but for the statistics of the norms.
    node.SPARSE = True


def _add_confusion(cfg: CfgNode) -> None:
    """The confusion-weighted loss of any head, and ConfusionGroupHead, around another head."""
    # Names of the semantic classes. They come from the data set, as NUM_CLASSES does.
    cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES = []

    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS = CfgNode()
    # The sem_seg.npz of an evaluation, on images that are neither trained on nor used for the final score; of a model
    # with a fusion sem_seg_unfused.npz, which is the head's own. The path starts at the folder in which the training
    # starts. A pixel's loss grows with the probability of the classes that its own is confused with. Take the matrix of
    # a model which finds all classes: one that was never found has no weight at all. Empty: cross-entropy.
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX = ""
    # Weight of these classes. Lower it where a class is hardly found any more.
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.LAMBDA = 5.0

    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS = CfgNode()
    node = cfg.MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS
    # The head whose feature the subnets look at and whose answer they join, by its name in the registry.
    node.BASE = ""
    # One subnet for each: lists of class names. tools/confusion_groups.py proposes them, as a file to put under _BASE_.
    node.GROUPS = []
    # How answers are joined: the "sum" or the "product" of probabilities. Choose it on held-out images.
    node.RULE = "product"
    # What a subnet says of the classes outside its group: "abstain", nothing; or "copy", of each what it says of
    # "others", to do as the paper does: classes outside all groups then win pixels of which nothing is sure.
    node.OTHERS = "abstain"
    # Input pixels per pixel of the joint answer; 0 = that of BASE. For sums of copies 1, which takes six times the
    # memory of K x H x W numbers: at a coarser stride they lose thin things and borders.
    node.STRIDE = 0
    # Width of a subnet. Narrower is faster.
    node.DIM = 128
    # 3x3 convolutions of a subnet, after one that brings the feature to DIM.
    node.CONVS = 2
    # Name of one of Detectron2's norms, "" for none. GroupNorm takes away how strong the feature of an image is, which
    # the head's own classifier learned to read; "SyncBN" where the network is pretrained with it.
    node.NORM = ""


def _add_solver(cfg: CfgNode) -> None:
    # "SGD", "ADAM" or "ADAMW". AdamW is the quicker one from scratch.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Multiplies the learning rate of all that is not the pretrained backbone (of an FPN: its bottom_up). 10 is what
    # PSPNet's released code has for heads that start anew on ImageNet weights; 1 from scratch, or where the heads are
    # pretrained too.
    cfg.SOLVER.NEW_LAYERS_LR_FACTOR = 1.0
    # LR_SCHEDULER_NAME may also be "WarmupPolyLR" (the papers' "poly") or "WarmupLinearLR" (poly of power 1).
    cfg.SOLVER.POLY_LR_POWER = 0.9
    # Detectron2's DeepLab has this key too: a constant multiplier that replaces the schedule's very end, where lr
    # would vanish. 0 = the plain schedule.
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 0.0
    # With SOLVER.AMP.ENABLED: "float16" (with loss scaling; CUDA only) or "bfloat16" (Ampere and newer, and CPUs).
    cfg.SOLVER.AMP.PRECISION = "float16"


def _add_stages(cfg: CfgNode) -> None:
    # Parts of the model that train, by the names of its modules ("backbone", "sem_seg_head.error_branch" ...); all
    # else stays as the weights brought it, bit by bit. Empty: everything trains.
    cfg.SOLVER.TRAIN_PARTS = []
    # Trainings to run one after another, each on the weights of the one before, by their names in STAGES; empty: one
    # training.
    cfg.SOLVER.STAGES = []
    # By name of a stage: the keys that have another value in it (STAGES.error.SOLVER.MAX_ITER: 60000 ...), and RESULT:
    # weights that somebody else trained, with which the stage is done.
    cfg.STAGES = CfgNode(new_allowed=True)


def _add_inference(cfg: CfgNode) -> None:
    # What TEST.AUG.ENABLED tests: factors of the size that INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST give (PSPNet's are
    # 0.5, 0.75, 1, 1.25, 1.5, 1.75), with AUG.FLIP mirrored too. Empty: the sizes of AUG.MIN_SIZES and AUG.MAX_SIZE.
    # Of --eval-only and the demo; evaluations during a training stay plain, they would take too long.
    cfg.TEST.AUG.SCALES = []

    cfg.TEST.WINDOW = CfgNode()
    # The semantic head sees images larger than this side, in pixels of the network's input, in square windows: the one
    # key that bounds memory. A multiple of the network's stride, best the size of the training crops; 0 = no windows.
    cfg.TEST.WINDOW.SIZE = 0
    # Share of a window that its neighbor covers again, where their probabilities are averaged: PSPNet's third. Less is
    # faster, more hides what windows don't see beyond their borders.
    cfg.TEST.WINDOW.OVERLAP = 1 / 3


def get_config() -> CfgNode:
    """Detectron2's default config, with the keys of its DeepLab project and of this one."""
    cfg = get_cfg()
    # First, since some of its keys are ours too.
    add_deeplab_config(cfg)
    add_unified_seg_config(cfg)
    return cfg
