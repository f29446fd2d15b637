"""From a source to the split a run stands on: made once, kept as a manifest, checked every time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mia_bench.data.source import Listing, Skip, Source, downloads
from mia_bench.data.split.manifest import Split, check_split, load_split, make_split, save_split
from mia_bench.data.split.near_duplicates import (
    group,
    perceptual_hashes,
    require_small_groups,
    thumbnails,
)
from mia_bench.data.split.roles import Role, RoleSizes
from mia_bench.utils.errors import MiaError, Missing

if TYPE_CHECKING:
    from mia_bench.config.schema import Data


def prepare(
    data: Data, source: Source, path: Path, plan_only: bool = False
) -> tuple[Listing, Split]:
    """(what the source offers, its split).

    Args:
        path: the split's manifest, which is written when it is not there.
        plan_only: download nothing.

    Raises:
        Missing: the data is not here, or would have to be downloaded while only a plan is wanted.
        MiaError: sizes that do not fit, data that no longer matches its split, or, with
            data.on_error=raise, the first pair that cannot be used.
    """
    advice = downloads(source) if plan_only else ""
    if advice:
        raise Missing(advice)
    listing = source.items()
    if not listing.items:
        raise MiaError(_nothing(data.name, listing))
    if data.on_error == "raise":
        _raise_first(listing.skipped)
    if not path.exists():
        save_split(_make(data, listing), path)
    split = load_split(path)
    check_split(split, listing, path)
    return listing, split


def role_pools(pools: Mapping[str, str]) -> dict[Role, str]:
    """data.pools by role. Raises MiaError for what is no role."""
    try:
        return {Role(role): pool for role, pool in pools.items()}
    except ValueError as error:
        raise MiaError(f"data.pools: {error}. Roles: {', '.join(Role)}.") from error


def _make(data: Data, listing: Listing) -> Split:
    from mia_bench.data.split.imported import import_split

    sizes, allowed = RoleSizes.of(data.sizes), role_pools(data.pools)
    stop = data.on_error == "raise"
    listing, hashes = perceptual_hashes(listing, stop=stop)
    if not listing.items:
        raise MiaError(_nothing(data.name, listing))
    small = None if data.max_rmse is None else thumbnails(listing)
    ids = [item.sample_id for item in listing.items]
    captions = [item.caption for item in listing.items]
    groups = group(ids, hashes, captions, data.max_distance, small, data.max_rmse or 0.0)
    require_small_groups(groups, captions)
    make = make_split if data.split is None else partial(import_split, Path(data.split))
    return make(
        listing,
        groups,
        sizes,
        source=data.name,
        seed=data.split_seed,
        max_distance=data.max_distance,
        allowed=allowed,
    )


def _raise_first(skipped: tuple[Skip, ...]) -> None:
    for skip in skipped:
        if skip.broken:
            raise MiaError(
                f"{skip.name}: {skip.reason}. Repair or remove it, or use data.on_error=skip."
            )


def _nothing(name: str, listing: Listing) -> str:
    from mia_bench.data.split.manifest import reasons

    why = f" Skipped: {reasons(listing.skipped)}." if listing.skipped else ""
    return f"data={name} offers no usable image-caption pair.{why}"
