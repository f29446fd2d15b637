"""What options of torch do for the bare U-Net: seconds with each over seconds as it is used."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from mia_bench.bench.bare import loop
from mia_bench.bench.clock import Ratio, ratio
from mia_bench.bench.subjects import Workload


def levers(subject: Workload, chunk: int, rounds: int, compiled: bool) -> dict[str, Ratio]:
    """Below 1 an option pays. What is in use already is measured by leaving it out."""
    plain = loop(subject, chunk, chunk)
    made: dict[str, Callable[[nn.Module], nn.Module]] = {
        "contiguous": lambda unet: unet.to(memory_format=torch.contiguous_format),
        "plain_attention": _plain_attention,
    }
    if compiled:
        made["compile"] = _compiled
    found = {}
    for name, change in made.items():
        unet = change(copy.deepcopy(subject.target.unet))
        found[name] = ratio(loop(subject, chunk, chunk, unet), plain, rounds, warm=3)
    found["inference_mode"] = ratio(_inference(plain), plain, rounds)
    for dtype in (torch.bfloat16, torch.float16):
        unet = copy.deepcopy(subject.target.unet).to(dtype)
        half = loop(subject, chunk, chunk, unet, dtype)
        found[str(dtype).removeprefix("torch.")] = ratio(half, plain, rounds)
    return found


def _compiled(unet: nn.Module) -> nn.Module:
    unet.compile()
    return unet


def _plain_attention(unet: nn.Module) -> nn.Module:
    from diffusers.models.attention_processor import AttnProcessor

    unet.set_attn_processor(AttnProcessor())  # type: ignore[operator]
    return unet


def _inference(run: Callable[[], None]) -> Callable[[], None]:
    def inside() -> None:
        with torch.inference_mode():
            run()

    return inside
