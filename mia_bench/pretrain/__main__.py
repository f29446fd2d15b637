"""`python -m mia_bench.pretrain`: all stages, resuming wherever an earlier run stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from mia_bench.pretrain.autoencoder import train_autoencoder
from mia_bench.pretrain.corpus import load_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("outputs/pretrain"), help="checkpoints, downloads"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("mia_bench/assets/tiny"), help="the bundle"
    )
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--autoencoder-steps", type=int, default=3000)
    parser.add_argument("--denoiser-steps", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(args.work / "npm", args.resolution)
    print(f"{len(corpus.parts)} pairs, {corpus.held_out.sum()} held out", flush=True)
    vae = train_autoencoder(corpus, args.work, args.autoencoder_steps)
    if args.denoiser_steps:
        from mia_bench.pretrain.denoiser import train_denoiser
        from mia_bench.pretrain.export import export

        denoiser = train_denoiser(corpus, vae, args.work, args.denoiser_steps)
        export(denoiser, vae, args.out)


if __name__ == "__main__":
    main()
