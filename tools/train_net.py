#!/usr/bin/env python3
"""Train and evaluate a config, with the command line that Detectron2 users know.

    python tools/train_net.py --config-file configs/toyscapes/unified_r18.yaml
    python tools/train_net.py --config-file ... --resume
    python tools/train_net.py --config-file ... --eval-only MODEL.WEIGHTS output/toyscapes/unified_r18/model_final.pth
    python tools/train_net.py --config-file ... --num-gpus 8 SOLVER.BASE_LR 0.01
    torchrun --nproc-per-node 2 tools/train_net.py --config-file ...      (several processes, GPUs or not)

Results go to OUTPUT_DIR: model_final.pth, metrics.json, TensorBoard events, inference/results.json.
"""

from unified_seg.training.run import run

if __name__ == "__main__":
    run(epilog=__doc__)
