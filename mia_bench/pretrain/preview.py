"""`python -m mia_bench.pretrain.preview`: what the tiny model can do, in figures and images.

Prints the autoencoder's PSNR on OpenMoji, which it never saw, and the noise-prediction error with
captions and with none; draws originals above reconstructions, and samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Option
from mia_bench.data.openmoji import OpenMoji
from mia_bench.data.pictures.preprocessing import pixels
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.target import Batch, Query, Target, grid_mse

TIMESTEPS = tuple(range(50, 1000, 100))
PROMPTS = (
    "red apple, fruit, healthy, snack",
    "cat face, pet, animal, whiskers",
    "sun, weather, bright, sunny",
    "tree, plant, forest, nature",
    "blue heart, love, affection",
    "automobile, car, vehicle, drive",
    "grinning face, happy, smile, joy",
    "house, building, home",
)


COMMAND = Command(
    "",
    "mia_bench.pretrain.preview",
    __doc__,
    (
        Option("out", "for the pictures", "FOLDER", "docs/images"),
        Option("rows", "of OpenMoji", "N", "256"),
    ),
    examples=("python -m mia_bench.pretrain.preview out=/tmp/images",),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, preview, words)


def preview(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    out = arguments.path("out")
    torch.manual_seed(0)
    model = StableDiffusion("bundled:tiny", 64)
    target = model.build(model.load_unet(), seed=0)
    batch = openmoji_batch(arguments.integer("rows"))
    target.queries.clear()
    with torch.no_grad():
        z0 = target.view(batch).z0
        restored = target.decode(z0)
        with_caption, without = caption_losses(target, batch)
        samples = target.generate(PROMPTS, seed=0, steps=50, guidance=4.0)
    error = ((restored - batch.image) / 2).square().mean(dim=(1, 2, 3))
    print(f"PSNR on {len(batch)} OpenMoji images: {(-10 * error.log10()).mean():.2f} dB")
    print(f"noise-prediction error on them: with caption {with_caption:.4f}, without {without:.4f}")
    out.mkdir(parents=True, exist_ok=True)
    chosen = slice(0, 240, 20)
    save(out / "tiny_reconstructions.png", [batch.image[chosen], restored[chosen]])
    save(out / "tiny_samples.png", [samples])


def openmoji_batch(rows: int) -> Batch:
    items = OpenMoji().items().items[:: max(1, 1400 // rows)][:rows]
    images = torch.stack([pixels(item.load(64), 64) for item in items])
    return Batch(tuple(i.sample_id for i in items), images, tuple(i.caption for i in items))


def caption_losses(target: Target, batch: Batch) -> tuple[float, float]:
    """Mean error over TIMESTEPS under the captions and under the null condition, same noise."""
    losses = []
    for cond in (target.embed(batch.caption), target.null(batch)):
        queries = [Query(t, cond) for t in TIMESTEPS]
        losses.append(grid_mse(target, target.view(batch), queries).mean().item())
    return losses[0], losses[1]


def save(path: Path, rows: list[Tensor]) -> None:
    """One line of pictures per tensor (N, 3, H, W)."""
    grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    array = ((grid.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    Image.fromarray(array).save(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
