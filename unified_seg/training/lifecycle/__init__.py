"""How a run begins, is interrupted, and goes on.

- `identity`: which run a folder belongs to; a new run does not mix with an older one.
- `lock`: one process at a time writes to the folder of a run.
- `signals`: a signal ends a training after its step.
- `checkpoints`: what a run writes to go on from, of all its processes.
- `metrics_file`: metrics.json without lines of steps that are done again.
- `processes`: several processes of one run.
"""
