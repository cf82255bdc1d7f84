"""Metrics of segmentation and ranking."""
