"""The endless stream of training batches, and the order of its images."""
