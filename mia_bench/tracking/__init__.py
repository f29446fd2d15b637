"""The mirror of outputs/ on Weights & Biases."""
