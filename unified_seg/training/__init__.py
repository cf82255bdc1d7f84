"""Training: trainer, step, optimizer, checkpoint, launch."""
