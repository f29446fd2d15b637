"""Near-duplicate groups, roles, and the manifest of a split."""
