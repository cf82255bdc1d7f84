"""The page of an evaluation: scores, errors and pictures of one model, or of several side by side."""
