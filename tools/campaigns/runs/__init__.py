"""Campaigns with a tiny training.

It is interrupted, each try in a fork of a process that has imported the library, or its checkpoints are damaged.
"""
