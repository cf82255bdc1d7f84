"""The search for a learning rate: the loss of a few steps with rising rates, and its curve."""
