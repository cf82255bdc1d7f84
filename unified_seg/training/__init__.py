"""Training: trainer, step, optimizer, launch."""
