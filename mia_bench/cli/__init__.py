"""The command line: which command a word names, and Hydra's entry into a run."""
