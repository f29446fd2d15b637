"""How alike two images are: pixel distances, and cosines of embeddings. All give one value per row.

`vae`, `mse` and `ssim` need nothing but the target. `open_clip` and `lpips` need weights that are
not part of this package; `face` is a callable of the user's.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mia_bench.attacks.base import LOCAL_PREFIX
from mia_bench.attacks.components.degradations import Box
from mia_bench.target import Target
from mia_bench.utils.errors import MiaError
from mia_bench.utils.serialization import check_tensors, is_pickle, refusal

CropMeasure = Literal["vae", "mse", "ssim", "open_clip", "face", "lpips"]
"""Of a crop around the hole, see `comparison`."""
RegionMeasure = Literal["hole_mse", "whole_mse", "whole_vae", "whole_ssim", "spread"]
"""Of the hidden pixels alone or of the whole picture, see region_measures.py."""
Measure = CropMeasure | RegionMeasure
Encoder = Callable[[Tensor], Tensor]
Compare = Callable[[Tensor, Tensor], Tensor]

SIGN: dict[str, int] = {
    "vae": 1,
    "mse": -1,
    "ssim": 1,
    "open_clip": 1,
    "face": 1,
    "lpips": -1,
    "hole_mse": -1,
    "whole_mse": -1,
    "whole_vae": 1,
    "whole_ssim": 1,
    "spread": -1,
}
"""+1 where a larger value means more alike."""

MOVED_CALLABLES = {
    "mia_bench.attacks.faces.frontal": "mia_bench.attacks.components.face_detection.frontal"
}
"""Dotted paths in configurations of older versions, which keys still go by, and where they lead."""
OFFLINE = (
    "do without: compare=vae, with open_clip taken out of measures, in an attack; "
    "eval.blind_encoder=null in the controls"
)
MIN_LPIPS_PIXELS = 64  # pixels per side below which AlexNet has no output


def comparison(
    name: CropMeasure, target: Target, resolution: int, clip: str = "", face: str | None = None
) -> Compare:
    """The measure `name`: pairs of images (B, 3, h, w) in [-1, 1] -> (B,).

    Args:
        resolution: pixels per side at which the target's own encoder sees images.
        clip: "<model>/<pretrained tag>" of open_clip, or "local-dir:<folder>".
        face: dotted path of a callable, images (B, 3, h, w) in [-1, 1] -> embeddings (B, d).

    Raises:
        MiaError: weights or the callable are missing.
    """
    match name:
        case "mse":
            return mse
        case "ssim":
            return ssim
        case "vae":
            return by_embedding(lambda x: target.encode(resize(x, resolution)))
        case "open_clip":
            return by_embedding(open_clip_encoder(clip, target.device))
        case "lpips":
            return lpips(target.device)
        case "face":
            return by_embedding(hook(face, "face_encoder"))


def crop(image: Tensor, boxes: Sequence[Box]) -> Tensor:
    """(B, C, s, s): each row's box, all of one side."""
    return torch.stack(
        [
            row[:, box.top : box.top + box.side, box.left : box.left + box.side]
            for row, box in zip(image, boxes, strict=True)
        ]
    )


def resize(image: Tensor, size: int) -> Tensor:
    if image.shape[-2:] == (size, size):
        return image
    resized = F.interpolate(image, (size, size), mode="bilinear", antialias=True)
    return resized.clamp(-1, 1)


def mse(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().flatten(1).mean(1)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), mirrored at the edges: needs 6 pixels per side."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    values = structural_similarity_index_measure(x, y, data_range=2.0, reduction="none")
    return cast(Tensor, values).view(len(x))


def by_embedding(encode: Encoder) -> Compare:
    """Cosine of the flattened embeddings."""

    def compare(x: Tensor, y: Tensor) -> Tensor:
        return F.cosine_similarity(encode(x).flatten(1).float(), encode(y).flatten(1).float())

    return compare


def hook(path: str | None, option: str) -> Callable[..., Any]:
    """The callable at a dotted path.

    Raises:
        MiaError: nothing callable is there.
    """
    if path is None:
        raise MiaError(f"{option} is not set: give the dotted path of a callable.")
    try:
        function = pkgutil.resolve_name(MOVED_CALLABLES.get(path, path))
    except (ImportError, AttributeError, ValueError) as error:
        raise MiaError(
            f"{option}={path} cannot be imported: {error}. A module of your own is found once its "
            "folder is on Python's path: install it, or set PYTHONPATH=<that folder>."
        ) from error
    if not callable(function):
        raise MiaError(f"{option}={path} is not callable.")
    return cast(Callable[..., Any], function)


def require(name: Measure, clip: str, face: str | None) -> None:
    """What the measure `name` takes from outside is here, or is fetched now: no model is built.

    Raises:
        MiaError: weights or the callable are missing.
    """
    match name:
        case "open_clip":
            fetch_open_clip(clip)
        case "lpips":
            alexnet_weights()
        case "face":
            hook(face, "face_encoder")
        case _:
            pass


def fetch_open_clip(clip: str) -> None:
    """Weights of "<model>/<pretrained tag>", or of "local-dir:<folder>", are here afterwards.

    Raises:
        MiaError: the name is unknown, or its weights are neither here nor to be had.
    """
    import open_clip

    if clip.startswith(LOCAL_PREFIX):
        if not any(Path(clip.removeprefix(LOCAL_PREFIX)).glob("*.safetensors")):
            raise MiaError(f"no safetensors weights in {clip}. Point it at a folder, or {OFFLINE}.")
        return
    name, _, tag = clip.partition("/")
    if is_pickle(tag):
        raise MiaError(f"open_clip weights: {refusal(tag)}")
    weights = open_clip.get_pretrained_cfg(name, tag)
    if not weights:
        names = [f"{name}/{t}" for t in open_clip.list_pretrained_tags_by_model(name)]
        hint = f"known: {', '.join(names)}" if names else "it names no model of open_clip"
        raise MiaError(f"open_clip weights '{clip}': {hint}. Name one, or {OFFLINE}.")
    try:
        open_clip.download_pretrained(weights)
    except Exception as error:  # the hub and the network each raise their own kinds
        raise _no_open_clip(clip, error) from error


def _no_open_clip(clip: str, error: Exception) -> MiaError:
    return MiaError(
        f"open_clip model '{clip}' cannot be loaded ({type(error).__name__}). Fetch its weights "
        f"where there is a network and share the cache, or {OFFLINE}."
    )


@cache
def open_clip_model(clip: str, device: torch.device) -> Any:
    """The open_clip model "<name>/<pretrained tag or file>", frozen.

    Raises:
        MiaError: the name is unknown, or its weights are neither here nor to be had.
    """
    import open_clip

    local = clip.startswith(LOCAL_PREFIX)
    name, _, tag = (clip, "", "") if local else clip.partition("/")
    if is_pickle(tag):
        raise MiaError(f"open_clip weights: {refusal(tag)}")
    try:
        model: Any = open_clip.create_model(
            name, pretrained=tag or None, device=device, require_pretrained=True
        )
    except Exception as error:  # open_clip, the hub and the network each raise their own kinds
        raise _no_open_clip(clip, error) from error
    return model.eval().requires_grad_(False)


def open_clip_text(clip: str, device: torch.device) -> Callable[[Sequence[str]], Tensor]:
    """Text tower: captions -> embeddings (B, d). Raises as `open_clip_model`."""
    import open_clip

    name = clip if clip.startswith(LOCAL_PREFIX) else clip.partition("/")[0]
    model, tokenize = open_clip_model(clip, device), open_clip.get_tokenizer(name)

    def encode(captions: Sequence[str]) -> Tensor:
        features: Tensor = model.encode_text(tokenize(list(captions)).to(device))
        return features

    return encode


@cache
def open_clip_encoder(clip: str, device: torch.device) -> Encoder:
    """Image tower, with its own size and normalisation. Raises as `open_clip_model`."""
    model = open_clip_model(clip, device)
    size = model.visual.image_size
    size = size if isinstance(size, int) else size[0]
    mean = torch.tensor(model.visual.image_mean, device=device).view(-1, 1, 1)
    std = torch.tensor(model.visual.image_std, device=device).view(-1, 1, 1)

    def encode(image: Tensor) -> Tensor:
        enlarged = F.interpolate(image, (size, size), mode="bicubic", antialias=True)
        features: Tensor = model.encode_image((enlarged.clamp(-1, 1) / 2 + 0.5 - mean) / std)
        return features

    return encode


def alexnet_weights() -> Path:
    """Raises MiaError unless AlexNet's weights are in torch's hub folder; nothing is downloaded."""
    from torchvision.models import AlexNet_Weights

    url = AlexNet_Weights.DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.is_file():
        raise MiaError(
            f"lpips needs torchvision's AlexNet weights: fetch {url} to {path}, or compare "
            "offline: compare=vae, with lpips taken out of measures."
        )
    check_tensors(path)
    return path


@cache
def lpips(device: torch.device) -> Compare:
    """Learned perceptual distance (Zhang et al. 2018), AlexNet version, of torchmetrics.

    Raises:
        MiaError: AlexNet's weights are not in torch's hub folder; nothing is downloaded.
    """
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    alexnet_weights()
    metric: Any = LearnedPerceptualImagePatchSimilarity(net_type="alex").to(device)

    def compare(x: Tensor, y: Tensor) -> Tensor:
        size = max(MIN_LPIPS_PIXELS, x.shape[-1])
        pairs = zip(resize(x, size).split(1), resize(y, size).split(1), strict=True)
        return torch.stack([metric(a, b) for a, b in pairs]).view(len(x))

    return compare
