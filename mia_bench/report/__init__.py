"""`python -m mia_bench.report`: a page of what outputs/ holds, recomputed from the scores."""
