"""From a source to the split a run stands on: made once, kept as a manifest, checked every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mia_bench.data.source import Listing, Skip, Source, downloads
from mia_bench.data.source import listing as merged
from mia_bench.data.split.imported import (
    import_split,
    imported_roles,
    labelled_roles,
    labelled_split,
)
from mia_bench.data.split.manifest import (
    Split,
    check_split,
    load_split,
    make_split,
    reasons,
    save_split,
)
from mia_bench.data.split.near_duplicates import (
    caption_note,
    group,
    perceptual_hashes,
    require_small_groups,
    thumbnails,
)
from mia_bench.data.split.roles import Role, RoleSizes
from mia_bench.utils.errors import MiaError, Missing

MAX_COLUMNS = 20  # names of columns in a message
WITH_CAPTIONLESS = "-captionless"  # ends the name of a split that keeps pictures without a caption

if TYPE_CHECKING:
    from mia_bench.config.schema import Data


def prepare(
    data: Data,
    source: Source,
    path: Path,
    plan_only: bool = False,
    labelled: bool = False,
    audited: bool = False,
) -> tuple[Listing, Split, Path]:
    """(what the source offers, its split, the split's manifest).

    Args:
        path: of the manifest, which is written when it is not there. With pictures that have no
            caption among others that have one it is another, beside it.
        plan_only: download nothing.
        labelled: a column of the data says who is a member.
        audited: the model is attacked as it is. Nothing is trained on captions, so that pictures
            without one are kept where the attacker has none of the data's own.

    Raises:
        Missing: the data is not here, or would have to be downloaded while only a plan is wanted.
        MiaError: sizes that do not fit, data that no longer matches its split, nobody says who is
            a member, or, with data.on_error=raise, the first pair that cannot be used.
    """
    advice = downloads(source) if plan_only else ""
    if advice:
        raise Missing(advice)
    listing = source.items()
    if data.captions != "own" and listing.captionless and (audited or not listing.items):
        path = path.with_stem(f"{path.stem}{WITH_CAPTIONLESS}") if listing.items else path
        listing = _with_captionless(listing)
    if not listing.items:
        raise MiaError(_nothing(data, listing))
    if labelled and not labelled_roles(listing):
        raise MiaError(_labels_of_nobody(data, listing))
    if audited and data.split is not None:
        _require_both_in_file(Path(data.split), listing)
    if data.on_error == "raise":
        _raise_first(listing.skipped)
    if not path.exists():
        save_split(_make(data, listing, labelled), path)
    split = load_split(path)
    check_split(split, listing, path)
    if data.on_error == "raise":
        _raise_first(_still_unreadable(split, listing))
    if labelled:
        _check_labels(split, listing, path)
    return listing, split, path


def role_pools(pools: Mapping[str, str]) -> dict[Role, str]:
    """data.pools by role. Raises MiaError for what is no role."""
    try:
        return {Role(role): pool for role, pool in pools.items()}
    except ValueError as error:
        raise MiaError(f"data.pools: {error}. Roles: {', '.join(Role)}.") from error


def _make(data: Data, listing: Listing, labelled: bool) -> Split:
    sizes, allowed = RoleSizes.of(data.sizes), role_pools(data.pools)
    stop = data.on_error == "raise"
    listing, hashes = perceptual_hashes(listing, stop=stop)
    if not listing.items:
        raise MiaError(_nothing(data, listing))
    if labelled:
        _require_both(listing)
    small = None if data.max_rmse is None else thumbnails(listing)
    ids = [item.sample_id for item in listing.items]
    captions = [item.caption for item in listing.items]
    groups = group(
        ids, hashes, captions, data.max_distance, small, data.max_rmse or 0.0, data.duplicates
    )
    require_small_groups(groups, captions)
    make: Callable[..., Split] = labelled_split if labelled else make_split
    if data.split is not None:
        make = partial(import_split, Path(data.split))
    try:
        split = make(
            listing,
            groups,
            sizes,
            source=data.name,
            seed=data.split_seed,
            max_distance=data.max_distance,
            allowed=allowed,
        )
    except MiaError as error:  # what was skipped may be what is wanting
        raise MiaError(" ".join(filter(None, (str(error), _skipped_words(listing))))) from error
    notes = [split.note, caption_note(captions) if data.duplicates is None else ""]
    if not labelled:
        notes.append(_unused(listing))
    return replace(split, note="; ".join(filter(None, notes)))


def _unused(listing: Listing) -> str:
    """A column that says who is a member and is not asked."""
    if not listing.label_column:
        return ""
    return (
        f"the column {listing.label_column} of the data says who is a member and is not used"
        f" (data.source.member={listing.label_column} uses it)"
    )


def _with_captionless(listing: Listing) -> Listing:
    """With the pictures that lack nothing but a caption, which is empty: the attacker has none."""
    items, lost = [], []
    for make in listing.captionless:
        try:
            items.append(make())
        except (OSError, ValueError) as error:
            lost.append(str(error))
    names = {item.name for item in items}
    skipped = tuple(skip for skip in listing.skipped if skip.name not in names)
    both = merged((*listing.items, *items), skipped)
    return replace(
        both,
        duplicates=listing.duplicates + both.duplicates,
        columns=listing.columns,
        label_column=listing.label_column,
        rows_in_order=listing.rows_in_order,
    )


def _check_labels(split: Split, listing: Listing, path: Path) -> None:
    """Raise MiaError where the column says something else than when the split was made."""
    now = labelled_roles(listing)
    target = (Role.TARGET_MEMBER, Role.TARGET_NONMEMBER)
    changed = [
        row
        for row in split.table
        if now.get(row.sample_id, row.role) is not row.role
        or (row.role in target and row.sample_id not in now)
    ]
    if changed:
        raise MiaError(
            f"the column {listing.label_column} of the data says something else of {len(changed):,}"
            f" rows than when the split was made, for example {changed[0].name}. Restore it, or"
            f" delete {path} to make a new split."
        )


def _require_both(listing: Listing) -> None:
    """Raise MiaError where a column knows members alone, or non-members alone."""
    counts = Counter(labelled_roles(listing).values())
    members, others = counts[Role.TARGET_MEMBER], counts[Role.TARGET_NONMEMBER]
    if not members or not others:
        raise MiaError(
            f"the column {listing.label_column} of the data names {members:,} members and"
            f" {others:,} non-members: some of both are needed."
        )


def _require_both_in_file(path: Path, listing: Listing) -> None:
    """Raise MiaError where a file names members alone, or non-members alone: of the others, who
    would be dealt, nothing is known. A list, .txt, says that others are none."""
    told = set(imported_roles(path, listing).values())
    wanted = {Role.TARGET_MEMBER, Role.TARGET_NONMEMBER}
    if path.suffix.lower() != ".txt" and len(told & wanted) == 1:
        absent = "non-members" if Role.TARGET_MEMBER in told else "members"
        raise MiaError(
            f"data.split={path} names no {absent}, and of the rows that it leaves out nothing is "
            f"known: name {absent} too. (A .txt of members' names says that all others are none.)"
        )


def _still_unreadable(split: Split, listing: Listing) -> tuple[Skip, ...]:
    """Pictures that could not be decoded when the split was made, and still cannot be."""
    names = {skip.name for skip in split.skipped if skip.broken}
    again = tuple(item for item in listing.items if item.name in names)
    readable, _ = perceptual_hashes(replace(listing, items=again, skipped=()))
    return readable.skipped


def _skipped_words(listing: Listing) -> str:
    """What was skipped, and the key that keeps pictures without a caption; "" where nothing was."""
    if not listing.skipped:
        return ""
    keep = (
        " data.captions=null keeps pictures without a caption, where model.finetune=false."
        if listing.captionless
        else ""
    )
    return f"Skipped: {reasons(listing.skipped)}.{keep}"


def _raise_first(skipped: tuple[Skip, ...]) -> None:
    for skip in skipped:
        if skip.broken:
            raise MiaError(
                f"{skip.name}: {skip.reason}. Repair or remove it, or use data.on_error=skip."
            )


def _nothing(data: Data, listing: Listing) -> str:
    """Nothing usable is there: what is, with an example, and the key that could help."""
    parts = [f"data={data.name} offers no usable image-caption pair."]
    if listing.skipped:
        example = listing.skipped[0]
        parts.append(
            f"Skipped: {reasons(listing.skipped)}. For example {example.name}: {example.reason}."
        )
    else:
        parts.append("Nothing is there: give data.source.root=<folder>.")
    if listing.columns:
        columns = ", ".join(listing.columns[:MAX_COLUMNS])
        parts.append(
            f"Columns of its tables: {columns}. Captions are in data.source.caption=<column>."
        )
    if any(skip.reason == "leads out of the folder" for skip in listing.skipped):
        parts.append("data.source.follow_links=true lets links lead out of it.")
    if listing.captionless:
        parts.append(
            "Captions are in metadata.jsonl (file_name, text), or a .txt beside each picture;"
            " data.captions=null does without."
        )
    return " ".join(parts)


def _labels_of_nobody(data: Data, listing: Listing) -> str:
    """Why there is nothing to evaluate, and the ways to say who is a member."""
    columns = ", ".join(listing.columns[:MAX_COLUMNS])
    seen = f" Columns seen: {columns}." if columns else ""
    return (
        f"model.finetune=false trains nothing, and nothing says which rows of data={data.name} the"
        " model was trained on: labels that are dealt at random are of nobody. Say who is a member:"
        " data=given with the folders members/ and nonmembers/; data.split=<file> with name and"
        " is_member; or a column is_member (1/0), member (member/nonmember) or split (train/test)"
        f" of the data, of another name with data.source.member=<column>.{seen} For a null"
        " experiment: data.random_labels=true."
    )
