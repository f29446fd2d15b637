"""What one GPU does with networks of real size and random weights: `python -m mia_bench.bench gpu`.

Weights are random because they cost as much to evaluate as trained ones, and nothing has to be
downloaded. `size=small` takes the same steps with narrow networks, on a CPU in seconds.

networks.py     Stable Diffusion 1.5, SDXL and Stable Diffusion 3 as targets
speed.py        the bare network, against a matrix product
scoring.py      attacks over the bare network, attack=all, the image codec's share
finetuning.py   steps of a fine-tune against a plain loop
steps.py        all of it as steps that can be resumed
results.py      docs/gpu.json
page.py         docs/gpu.md
command.py      the command line
"""
