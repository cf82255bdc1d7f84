"""Ablations: the rows of a paper's table, trained and evaluated by one command.

plan (what ablation.yaml says) -> runs (a row with a seed, in a folder of its own) -> summary (results.json, with the
paired bootstrap) -> table (between two markers of a README). `tools/ablate.py` is the command.
"""
