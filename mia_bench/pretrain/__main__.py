"""`python -m mia_bench.pretrain`: train the bundled tiny model again, resuming where it stopped."""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Option
from mia_bench.utils.terminal import echo

COMMAND = Command(
    "pretrain",
    "mia_bench.pretrain",
    __doc__,
    (
        Option("work", "checkpoints and downloads", "FOLDER", "outputs/pretrain"),
        Option("out", "the finished bundle", "FOLDER", "mia_bench/assets/tiny"),
        Option(
            "flow_steps", "of a flow-matching transformer instead, on tiny's autoencoder", "N", "0"
        ),
        Option("resolution", "pixels a side", "N", "64"),
        Option("autoencoder_steps", "of the autoencoder", "N", "3000"),
        Option("denoiser_steps", "of the U-Net; 0: the autoencoder alone", "N", "8000"),
        Option("threads", "of the CPU; where not given, all", "N"),
    ),
    examples=(
        "mia-bench pretrain",
        "mia-bench pretrain work=/tmp/pretrain denoiser_steps=0",
        "mia-bench pretrain flow_steps=5000 out=outputs/tiny_flow",
    ),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, train, words)


def train(words: Sequence[str]) -> None:
    """Every stage; nothing is exported without a denoiser."""
    arguments = parse(COMMAND, words)
    import torch

    from mia_bench.pretrain.autoencoder import train_autoencoder
    from mia_bench.pretrain.corpus import load_corpus

    work, steps = arguments.path("work"), arguments.integer("denoiser_steps")
    if "threads" in arguments:
        torch.set_num_threads(arguments.integer("threads"))
    work.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(work / "npm", arguments.integer("resolution"))
    echo(f"{len(corpus.parts)} pairs, {corpus.held_out.sum()} held out")
    if flow_steps := arguments.integer("flow_steps"):
        from mia_bench.pretrain.flow import export_flow, train_flow

        captions = [", ".join(parts) for parts in corpus.parts]
        export_flow(train_flow(corpus, work, flow_steps), captions, arguments.path("out"))
        return
    vae = train_autoencoder(corpus, work, arguments.integer("autoencoder_steps"))
    if steps:
        from mia_bench.pretrain.denoiser import train_denoiser
        from mia_bench.pretrain.export import export

        export(train_denoiser(corpus, vae, work, steps), vae, arguments.path("out"))


if __name__ == "__main__":
    main()
