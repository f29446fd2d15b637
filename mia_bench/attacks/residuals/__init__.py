"""Losses in other forms: of averaged residuals, and under captions of other images."""
