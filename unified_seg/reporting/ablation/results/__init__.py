"""The results of an ablation: from the folders of its runs to results.json (summary), and from there to the tables."""
