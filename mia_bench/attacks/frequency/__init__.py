"""FreMIA: the distances of other attacks, with high frequencies damped (arXiv 2505.20955)."""
