"""Data structures that flow between the parts of a model."""
