"""A tiny random network, and a target whose memory is known: fixtures every test may use."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mia_bench.attacks import Access, Attack, Calibration
from mia_bench.metrics import Thresholds, auroc
from mia_bench.metrics.summary import evaluate
from mia_bench.models.memorizer import memorizer, scaled_linear
from mia_bench.target import Batch, Target
from mia_bench.target.diffusion import keyed_noise

IMAGE = 16  # pixels per side; latents are half of it
TOKENS, WIDTH = 6, 16
FIRST = ("ba", "de", "fi", "go", "ka", "lu", "mi", "no", "re", "su", "to", "ve")
LAST = ("bor", "dan", "fex", "gim", "lut", "mep", "nis", "par", "rov", "sel", "tun", "zak")
WORDS = tuple(x + y for x in FIRST for y in LAST)


class Memorized(NamedTuple):
    """A target, images it memorised, and two draws of images it never saw."""

    target: Target
    member: Batch
    unseen: Batch
    unseen2: Batch


class Verdict(NamedTuple):
    """AUROC of an attack on a memorizer, and its interval where there is nothing to find."""

    auroc: float
    nothing: dict[str, Any]

    @property
    def fooled(self) -> bool:
        """The interval of unseen against unseen images misses 0.5."""
        return not self.nothing["lo"] <= 0.5 <= self.nothing["hi"]


class Exam(NamedTuple):
    """Measured rows: calibration rows, and as many members, unseen and other unseen images."""

    known: Calibration
    rows: dict[str, Any]
    each: int

    def verdict(self, scores: Any) -> Verdict:
        truth = np.repeat([True, False], self.each)
        group = [str(i) for i in range(len(truth))]
        no_threshold = Thresholds(0.0, None, 0, "not asked")
        nothing = evaluate(scores[self.each :], truth, group, no_threshold, 0, 500)
        return Verdict(auroc(scores[: 2 * self.each], truth), nothing["auroc"])


class MixedCodec(nn.Module):
    """(B, 3, 16, 16) images to (B, 4, 8, 8) latents: pixel averages under a fixed 3 -> 4 map."""

    def __init__(self) -> None:
        super().__init__()
        mix = keyed_noise(0, "codec", None, 0, (4, 3))
        self.register_buffer("mix", mix, persistent=False)
        self.register_buffer("unmix", torch.linalg.pinv(mix), persistent=False)

    def encode(self, image: Tensor) -> Tensor:
        return torch.einsum("lc,bchw->blhw", self.mix, F.avg_pool2d(image, 2))

    def decode(self, z0: Tensor) -> Tensor:
        return self.decode_with_gradients(z0)

    def decode_with_gradients(self, z0: Tensor) -> Tensor:
        pixels = torch.einsum("cl,blhw->bchw", self.unmix, z0)
        return F.interpolate(pixels, scale_factor=2.0, mode="nearest")


class HashedTokens(nn.Module):
    """Captions to (B, 6, 16): one random vector per word in its place, and one for padding."""

    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.stack([self._tokens(text.split()) for text in captions]), {}

    def _tokens(self, words: list[str]) -> Tensor:
        padded = [*words, *[""] * TOKENS][:TOKENS]
        rows = [keyed_noise(0, f"word:{word}", i, 0, (WIDTH,)) for i, word in enumerate(padded)]
        return torch.stack(rows)


def draw_pictures(n: int, seed: int, size: int = IMAGE) -> Tensor:
    """(n, 3, size, size) smooth random images of equal contrast in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 3, 5, 5, generator=generator)
    image = F.interpolate(coarse, size=size, mode="bicubic")
    image = image + 0.3 * torch.randn(n, 3, size, size, generator=generator)
    image = image - image.mean(dim=(1, 2, 3), keepdim=True)
    return (0.4 * image / image.std(dim=(1, 2, 3), keepdim=True)).clamp(-1, 1)


def draw_captions(n: int, seed: int, words: int = 6) -> tuple[str, ...]:
    """n captions of distinct words."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(WORDS), generator=generator)[:words] for _ in range(n)]
    return tuple(" ".join(WORDS[i] for i in order.tolist()) for order in orders)


def draw_batch(n: int, seed: int, size: int = IMAGE) -> Batch:
    """n random pictures with random captions; sample ids say nothing about the draw."""
    ids = [blake2b(f"{seed}|{i}".encode(), digest_size=6).hexdigest() for i in range(n)]
    return Batch(
        tuple(f"random:{sid}" for sid in ids), draw_pictures(n, seed, size), draw_captions(n, seed)
    )


@pytest.fixture(scope="session")
def random_batch() -> Callable[..., Batch]:
    """random_batch(n, seed=0, size=16): pictures nobody trained on, with captions of six words."""

    def draw(n: int, seed: int = 0, size: int = IMAGE) -> Batch:
        return draw_batch(n, seed, size)

    return draw


@pytest.fixture(scope="session")
def tiny_unet() -> nn.Module:
    """A random UNet2DConditionModel on 4 x 8 x 8 latents and 6 x 16 text tokens."""
    from diffusers import UNet2DConditionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            mid_block_type=None,
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=4,
        )
    return unet.eval()


@pytest.fixture(scope="session")
def random_target(tiny_unet: nn.Module) -> Callable[..., Target]:
    """random_target(prediction_type="epsilon", unet=None, size=16, **options of Target)."""

    def build(
        prediction_type: str = "epsilon",
        unet: nn.Module | None = None,
        size: int = IMAGE,
        **options: Any,
    ) -> Target:
        return Target(
            tiny_unet if unet is None else unet,
            MixedCodec(),
            HashedTokens(),
            (4, size // 2, size // 2),
            scaled_linear(),
            prediction_type,
            **options,
        ).eval()

    return build


@pytest.fixture(scope="session")
def memorize() -> Callable[..., Memorized]:
    """memorize(n=60, prediction_type="epsilon", seed=0, size=16): n members, twice n unseen."""

    def build(
        n: int = 60, prediction_type: str = "epsilon", seed: int = 0, size: int = IMAGE
    ) -> Memorized:
        member, unseen, unseen2 = (draw_batch(n, 10 * seed + i, size) for i in (1, 2, 3))
        target = memorizer(member.image, member.caption, prediction_type, side=2, seed=seed)
        return Memorized(target, member, unseen, unseen2)

    return build


@pytest.fixture
def memorized(memorize: Callable[..., Memorized]) -> Memorized:
    """60 memorised images, and 60 and 60 unseen ones, of the epsilon-predicting memorizer."""
    return memorize()


def measure(attack: Attack, target: Target, batch: Batch) -> dict[str, Any]:
    """Features of a batch as stored: float32 arrays, gradients off below white-box."""
    target.start_attack()
    with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
        features = attack.features(target, batch)
    target.forget()
    return {name: value.detach().float().cpu().numpy() for name, value in features.items()}


def examine(attack: Attack, drawn: Memorized) -> Exam:
    """Even rows of members and unseen images calibrate; the odd ones of all three are scored."""
    parts = [measure(attack, drawn.target, batch) for batch in drawn[1:]]
    even, odd = (np.arange(start, len(drawn.member), 2) for start in (0, 1))

    def join(rows: Any, *which: int) -> dict[str, Any]:
        return {name: np.concatenate([parts[i][name][rows] for i in which]) for name in parts[0]}

    labels = np.repeat([True, False], len(even))
    known = Calibration(join(even, 0, 1), labels, np.arange(len(labels)).astype(str))
    return Exam(known, join(odd, 0, 1, 2), len(odd))


def judge(attack: Attack, drawn: Memorized) -> Verdict:
    exam = examine(attack, drawn)
    return exam.verdict(attack.score(exam.rows, exam.known))


@pytest.fixture(scope="session", name="measure")
def fixture_measure() -> Callable[[Attack, Target, Batch], dict[str, Any]]:
    return measure


@pytest.fixture(scope="session", name="examine")
def fixture_examine() -> Callable[[Attack, Memorized], Exam]:
    return examine


@pytest.fixture(scope="session", name="judge")
def fixture_judge() -> Callable[[Attack, Memorized], Verdict]:
    return judge


@pytest.fixture
def fresh_target(random_target, tiny_unet) -> Callable[..., Target]:
    """fresh_target(prediction_type="epsilon"): a random target with a U-Net of its own."""

    def build(prediction_type: str = "epsilon") -> Target:
        return random_target(prediction_type, unet=copy.deepcopy(tiny_unet))

    return build
