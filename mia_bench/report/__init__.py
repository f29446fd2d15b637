"""A page of what outputs/ holds, recomputed from the stored scores: `python -m mia_bench.report`."""
