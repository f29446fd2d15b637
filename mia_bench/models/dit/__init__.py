"""Diffusion transformers in diffusers' directories: one file per family, one builder for all.

builder.py       what conf/model names: where a model is, its identity, its target
family.py        what a family consists of
adapters.py      image latents, and the text stack of a family's own pipeline
scheduler.py     the time convention, from scheduler_config.json
refusals.py      directories and files that are not read, and what to do instead
sd3.py ...       the families
"""
