"""`python -m unified_seg_cli` is `unified-seg`, also for torchrun: `torchrun -m unified_seg_cli train ...`."""

from unified_seg_cli.main import main

if __name__ == "__main__":
    main()
