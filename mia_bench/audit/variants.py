"""Exchangeable variants of a picture: made, one published by a coin, all sealed.

    out/published/<name>.png         what the owner publishes
    out/variants/<name>/<k>.png      the versions that stay unpublished
    out/seal.json                    a hash of every file, and of them all

Every version is a crop of the original (the same share of each side, another place), and where the
pictures have captions each version opens its caption with another of OPENINGS. Which one is
published is drawn from the system's randomness after all are made, so the N + 1 are exchangeable:
a model that never saw the published one ranks it as if by lot. The seal's hash, deposited before
publication (with a notary, in a public post), shows that the variants were not chosen afterwards.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mia_bench.attacks import Floats
from mia_bench.audit.findings import AttackFinding, AuditFindings
from mia_bench.audit.scores import COMBINED
from mia_bench.data.folders import read_folder
from mia_bench.data.pictures.image_file import EXTENSIONS
from mia_bench.data.source import Item
from mia_bench.metrics.inference.multiple_tests import holm_adjusted
from mia_bench.metrics.inference.panel_combination import combined_score
from mia_bench.metrics.inference.power import smallest_rank_leak
from mia_bench.metrics.inference.rank_test import RankTest, rank_test, smallest_rank_p
from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.hashing import hash_file, hash_key
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator
from mia_bench.utils.terminal import progress
from mia_bench.utils.text import safe_name

PUBLISHED, VARIANTS, SEAL = "published", "variants", "seal.json"
COUNT = 19
CROP_SHARE = 0.9  # of either side
RENDER_PIXELS = 1024  # at which drawings are rendered
OPENINGS = (
    *("", "a picture of", "an image of", "here is", "this shows", "seen here:", "depicted:"),
    *("a view of", "a work showing", "in this picture:", "shown:", "we see", "there is"),
    *("a portrayal of", "a depiction of", "pictured:", "a rendering of", "look:", "featuring"),
    *("presenting", "a scene with", "in view:", "one sees", "a visual of"),
)
SEAL_VERSION = 1


def make_variants(originals: Path, out: Path, count: int, seed: int) -> str:
    """Write published pictures, `count` variants of each, and the seal; the seal's hash.

    Raises:
        MiaError: no picture, fewer than one variant, or `out` is not empty.
    """
    if count < 1:
        raise MiaError(f"count={count}: at least one variant of each picture is needed.")
    if out.exists() and any(out.iterdir()):
        raise MiaError(f"{out} is not empty: variants go into a new folder, which is sealed.")
    items = read_folder(originals, "original").items
    if not items:
        raise MiaError(f"mine={originals} holds no picture that can be read.")
    captions: dict[str, dict[str, str]] = {PUBLISHED: {}, VARIANTS: {}}
    names: set[str] = set()
    for item in progress(items, "variants"):
        stem = _unused_name(item, names)
        versions = crops(item.load(RENDER_PIXELS), count + 1, seed, stem)
        openings = keyed_generator(seed, "opening", stem).permutation(len(OPENINGS))
        chosen, k = secrets.randbelow(count + 1), 0
        for i, version in enumerate(versions):
            folder, name = (PUBLISHED, f"{stem}.png")
            if i != chosen:
                folder, name, k = VARIANTS, f"{stem}/{k:02d}.png", k + 1
            path = out / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            version.save(path)
            if item.caption:
                opening = OPENINGS[openings[i % len(OPENINGS)]]
                captions[folder][name] = f"{opening} {item.caption}".strip()
    for folder, said in captions.items():
        _write_captions(out / folder, said)
    return seal(out, count)


def _unused_name(item: Item, names: set[str]) -> str:
    stem = safe_name(Path(item.name).stem)
    name = next(n for i in range(len(names) + 1) if (n := stem + f"-{i}" * (i > 0)) not in names)
    names.add(name)
    return name


def crops(picture: Image.Image, count: int, seed: int, name: str) -> list[Image.Image]:
    """`count` crops of one size in different places, as far as the picture has room for them."""
    width, height = (max(1, round(CROP_SHARE * side)) for side in picture.size)
    room = picture.width - width, picture.height - height
    places = [(x, y) for y in range(room[1] + 1) for x in range(room[0] + 1)]
    rng = keyed_generator(seed, "crop", name)
    drawn = rng.choice(len(places), count, replace=len(places) < count)
    corners = (places[i] for i in drawn)
    return [picture.crop((x, y, x + width, y + height)) for x, y in corners]


def _write_captions(folder: Path, captions: Mapping[str, str]) -> None:
    if captions:
        rows = [{"file_name": name, "text": text} for name, text in captions.items()]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def seal(folder: Path, count: int) -> str:
    """Write seal.json: the hash of every file, and of that list; the latter."""
    content = {"version": SEAL_VERSION, "count": count, "files": _hashes(folder)}
    hash_of_all = hash_key(content)
    write_json(folder / SEAL, {**content, "hash": hash_of_all})
    return hash_of_all


def check_seal(variants: Path, published: Path) -> tuple[str | None, str]:
    """(hash, what to say) of the seal beside a folder of variants; None where none is.

    Raises:
        MiaError: a sealed file was changed, added or removed, or the published pictures are not
            those of the seal.
    """
    path = variants.parent / SEAL
    if not path.is_file():
        return None, (
            "The variants are not sealed: that they were made before the pictures were published "
            "rests on your word. mia-bench audit make-variants seals them."
        )
    stored = read_json(path)
    content = {name: stored.get(name) for name in ("version", "count", "files")}
    if not isinstance(content["files"], dict) or hash_key(content) != stored.get("hash"):
        raise MiaError(f"{path} was edited: its list does not give its hash.")
    now, listed = _hashes(variants.parent), content["files"]
    differing = sorted(name for name in {*now, *listed} if now.get(name) != listed.get(name))
    if differing:
        raise MiaError(
            f"{len(differing)} files beside {path} are not as they were sealed, the first is "
            f"{differing[0]}: restore them, or the variants prove nothing."
        )
    sealed = {value for name, value in listed.items() if name.startswith(f"{PUBLISHED}/")}
    pictures = [path for path in _files(published) if path.suffix.lower() in EXTENSIONS]
    strange = [path.name for path in pictures if hash_file(path) not in sealed]
    if strange:
        raise MiaError(
            f"mine={published} holds {len(strange)} pictures that the seal does not know, the "
            f"first is {strange[0]}: give the folder {PUBLISHED} that was sealed."
        )
    return str(stored["hash"]), f"The variants have the seal {stored['hash']}."


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SEAL]


def _hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in _files(folder)}


# --- the rank test over scores --------------------------------------------------------------------


@dataclass(frozen=True)
class VariantFamily:
    """Rows of the table of scores: a published picture, and its unpublished variants."""

    published: int
    variants: tuple[int, ...]


def families(names: Sequence[str], is_published: Sequence[bool]) -> list[VariantFamily]:
    """Published pictures with their variants, which lie in a folder of the picture's name.

    Raises:
        MiaError: a picture without variants.
    """
    by_stem: dict[str, list[int]] = {}
    for row, (name, is_first) in enumerate(zip(names, is_published, strict=True)):
        if not is_first:
            by_stem.setdefault(Path(name).parts[0], []).append(row)
    found, lacking = [], []
    for row, (name, is_first) in enumerate(zip(names, is_published, strict=True)):
        if is_first:
            rows = by_stem.get(Path(name).stem)
            if rows is None:
                lacking.append(name)
            else:
                found.append(VariantFamily(row, tuple(rows)))
    if lacking:
        raise MiaError(
            f"{len(lacking)} pictures have no variants, the first is {lacking[0]}: variants= needs "
            f"a folder for each, {Path(lacking[0]).stem}/, as make-variants writes them."
        )
    return found


def find_ranks(
    table: pd.DataFrame, attacks: Sequence[str], alpha: float
) -> tuple[AuditFindings, pd.DataFrame]:
    """The findings of the rank test, and the table with the combined score inside each family."""
    groups = families(table.name.tolist(), table.is_first.tolist())
    combined = np.full(len(table), np.nan)
    for family in groups:
        rows = [family.published, *family.variants]
        combined[rows] = combined_score(table.iloc[rows][list(attacks)].to_numpy().T)
    table = table.assign(**{COMBINED: combined})
    sizes = [len(family.variants) for family in groups]
    result = _ranks(combined, groups)
    p = {name: _ranks(table[name].to_numpy(), groups).p_value for name in attacks}
    adjusted = holm_adjusted(p)
    each = tuple(
        AttackFinding(n, *_beats(table[n].to_numpy(), groups), p[n], adjusted[n], None, None, False)
        for n in attacks
    )
    first = sum(p <= 1 / (n + 1) for p, n in zip(result.pictures, sizes, strict=True))
    findings = AuditFindings(
        result.p_value,
        f"rank test among {min(sizes)} variants or more of each picture; Fisher's combination "
        f"gives {result.fisher:.2g}",
        smallest_rank_p(sizes),
        *_beats(combined, groups),
        smallest_rank_leak(len(groups), min(sizes), alpha),
        (len(groups), sum(sizes)),
        first,
        len(groups),
        None,
        None,
        each,
        (),
    )
    return findings, table


def _ranks(scores: Floats, groups: Sequence[VariantFamily]) -> RankTest:
    published = [float(scores[family.published]) for family in groups]
    return rank_test(published, [scores[list(family.variants)] for family in groups])


def _beats(
    scores: Floats, groups: Sequence[VariantFamily]
) -> tuple[float, float | None, float | None]:
    """How often a published picture scores above a variant of it, with a 95 % interval over
    pictures (Student's t)."""
    from scipy.stats import t

    share = [_beaten(scores[f.published], scores[list(f.variants)]) for f in groups]
    mean, n = float(np.mean(share)), len(share)
    if n < 2:
        return mean, None, None
    reach = t.ppf(0.975, n - 1) * np.std(share, ddof=1) / np.sqrt(n)
    return mean, max(0.0, float(mean - reach)), min(1.0, float(mean + reach))


def _beaten(score: float, variants: Floats) -> float:
    """The share of `variants` below `score`, half of those beside it."""
    return float(((variants < score) + 0.5 * (variants == score)).mean())
