"""Image-caption pairs: where they come from, and what part each plays in a run."""
