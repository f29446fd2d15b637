"""Diffusion transformers in diffusers' directories: one file per family, one builder for all.

builder.py       what conf/model names: where a model is, its identity, its target
directory.py     what the configurations say, and what is refused before weights are loaded
loading.py       transformer, autoencoder and text stack
family.py        what a family consists of
families/        one file for each
adapters.py      image latents, and the text stack of a family's own pipeline
scheduler.py     the time convention, from scheduler_config.json
"""
