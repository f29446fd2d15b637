"""The recipe of the bundled tiny target: `python -m mia_bench.pretrain` (or `make tiny`).

Three stages, each resumable from its own checkpoint: `corpus` reads image-caption pairs of three
emoji sets, `autoencoder` trains the VAE, `denoiser` trains the U-Net and the text encoder jointly,
and `export` writes a Stable Diffusion directory that diffusers loads. `flow` trains a transformer
by rectified flow on the finished autoencoder instead (`make tiny-flow`). None of the sets that the
benchmark evaluates on (OpenMoji, OpenClipart, Tux Paint) is read here.
"""
