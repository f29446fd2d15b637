"""How fast the benchmark is, as ratios measured in one process: `make bench`.

Seconds depend on the machine and on what else it does; a ratio of two things done in turn, again
and again, hardly does. Every figure here is one, or a size.
"""
