"""Pictures that are known to have been used: read, kept apart from both sets, and planned.

They tell how often a used picture is called so, and nothing else: no test and no control looks at
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mia_bench.audit.sets import ComparedSets
from mia_bench.data.captions.attacker import with_attacker_captions
from mia_bench.data.folders import CaptionSource, captioned, read_folder
from mia_bench.data.source import Item, Listing, Skip
from mia_bench.data.split.manifest import Split, make_table
from mia_bench.data.split.near_duplicates import MAX_DISTANCE, group, perceptual_hashes
from mia_bench.data.split.roles import Role, RoleSizes
from mia_bench.planning.plan import Plan
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class KnownPictures:
    """Pictures of known=: item i has group[i]. `left_out`: names of those that nearly equal a
    picture of either set. `unreadable`: files that hold no picture that can be read."""

    items: tuple[Item, ...]
    group: tuple[str, ...]
    left_out: tuple[str, ...]
    unreadable: tuple[Skip, ...]
    listing: Listing

    @property
    def groups(self) -> int:
        """Near-duplicates counted once."""
        return len(set(self.group))

    def split(self, source: str, seed: int) -> Split:
        """Every picture as a member; nothing is scored against anything here."""
        roles = [Role.TARGET_MEMBER] * len(self.items)
        sizes = RoleSizes(len(roles), 0, 0, 0, 0)
        listing = replace(self.listing, items=self.items)
        return make_table(
            *(listing, self.group, roles, sizes),
            source=source,
            seed=seed,
            max_distance=MAX_DISTANCE,
        )


def read_known(
    folder: Path, sets: ComparedSets, captions: CaptionSource, caption: str
) -> KnownPictures:
    """The pictures in `folder`, with captions as the sets have them.

    Raises:
        MiaError: none is left, or some have no caption where the sets' own are used.
    """
    read = read_folder(folder, "audit")
    items = tuple(captioned(item, captions, caption) for item in read.items)
    lacking = sum(not item.caption.strip() for item in items)
    if captions == "own" and lacking:
        raise MiaError(
            f"known={folder}: {lacking} of {len(items)} pictures have no caption, and all of the "
            "sets have one. Add them, or say captions=none, or one caption for all."
        )
    kept, hashes = perceptual_hashes(replace(read, items=items))
    of_sets, hashes_of_sets = perceptual_hashes(Listing(sets.items))
    everything = [*of_sets.items, *kept.items]
    ids = [f"{i}" for i in range(len(everything))]  # the same picture may lie in two folders
    labels = group(*(ids, np.concatenate([hashes_of_sets, hashes]), [""] * len(ids), MAX_DISTANCE))
    taken, own = set(labels[: len(of_sets.items)]), labels[len(of_sets.items) :]
    pairs = [(i, g) for i, g in zip(kept.items, own, strict=True) if g not in taken]
    left_out = tuple(i.name for i, g in zip(kept.items, own, strict=True) if g in taken)
    if not pairs:
        why = f"each is in a set as well ({left_out[0]}, ...)" if left_out else "none can be read"
        raise MiaError(f"known={folder} holds no picture to learn from: {why}.")
    first_id: dict[str, str] = {}
    names = [first_id.setdefault(label, item.sample_id) for item, label in pairs]
    unreadable = tuple(skip for skip in kept.skipped if skip.broken)
    return KnownPictures(tuple(i for i, _ in pairs), tuple(names), left_out, unreadable, kept)


def known_plans(plans: Sequence[Plan], known: KnownPictures, seed: int) -> list[Plan]:
    """`plans` (of the model and of its base) on the known pictures instead of the two sets."""
    changed = []
    for plan in plans:
        data = plan.experiment.options.data
        split = known.split(data.name, seed)
        listing = replace(known.listing, items=known.items)
        items = with_attacker_captions(data.captions, listing, split, plan.outputs)
        changed.append(replace(plan, split=split, items=items))
    return changed
