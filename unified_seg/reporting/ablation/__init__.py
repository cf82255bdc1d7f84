"""Ablations: the rows of a paper's table, trained and evaluated by one command, `tools/ablate.py`.

plan (ablation.yaml) -> runs (a row with a seed, in a folder of its own with a record) -> execute -> results
(results.json, with a paired bootstrap; tables between two markers of a README).
"""
