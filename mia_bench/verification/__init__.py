"""A stored run, recomputed and compared with what it says."""
