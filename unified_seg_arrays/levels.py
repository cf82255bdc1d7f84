"""Probabilities in 8 bits: p is the level floor(256 p), at most 255; from 128 on it is a half or more."""

LEVELS = 256
