"""membership.py: the rows of a split, its summary, and the manifest that fixes it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mia_bench.data.source import Item, Listing, Skip, fingerprint, listing
from mia_bench.data.split.manifest import (
    Row,
    Split,
    check_split,
    load_split,
    make_split,
    make_table,
    reason_kind,
    reasons,
    save_split,
)
from mia_bench.data.split.roles import Role, RoleSizes
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

QUARTERS = RoleSizes(0.25, 0.25, 0.25, 0.25)
COUNTS = RoleSizes(40, 60, 30, 20, 10)


def blank(resolution: int) -> Image.Image:
    return Image.new("RGB", (resolution, resolution))


def data(n: int = 200, source: str = "x") -> tuple[Listing, list[str]]:
    """n items whose rows 0, 10, 20, … start groups of three, the others alone."""
    items = [Item(f"{source}:{i:04d}", f"caption {i}", f"{i}.png", blank) for i in range(n)]
    groups = [f"{source}:{i - i % 10 if i % 10 < 3 else i:04d}" for i in range(n)]
    return listing(items), [groups[int(item.name[:-4])] for item in listing(items).items]


def split_of(sizes: RoleSizes = COUNTS, seed: int = 0, n: int = 200) -> tuple[Split, Listing]:
    made, groups = data(n)
    return make_split(made, groups, sizes, source="x", seed=seed, max_distance=6), made


def test_counts_are_exact_while_small_groups_are_left() -> None:
    for seed in range(20):
        split, _ = split_of(seed=seed)
        assert Counter(split.role) == COUNTS.counts(200)
        assert split.unused == 40


def test_seeds_differ_and_repeat() -> None:
    splits = [split_of(seed=seed)[0] for seed in range(10)]
    assert len({split.content_hash for split in splits}) == 10
    assert split_of(seed=3)[0] == splits[3]
    assert (splits[3].seed, splits[3].max_distance, splits[3].sizes) == (3, 6, COUNTS)


def test_the_rest_validates_or_stays_unused() -> None:
    rest, _ = split_of(RoleSizes(40, 60, 30, 20))
    assert (Counter(rest.role)[Role.VALIDATION], rest.unused) == (50, 0)
    none, _ = split_of(RoleSizes(40, 60, 30, 20, 0))
    assert (Counter(none.role)[Role.VALIDATION], none.unused) == (0, 50)


def test_sizes_above_the_rows_say_the_numbers() -> None:
    with pytest.raises(MiaError, match=r"needs 1,180 rows \(180 target_member .* data has 200"):
        split_of(RoleSizes(180, 460, 180, 360))
    with pytest.raises(MiaError, match="needs 240 rows"):
        split_of(RoleSizes(0.3, 0.3, 0.3, 0.3))


def test_rows_select_by_role() -> None:
    split, _ = split_of()
    members = split.rows(Role.TARGET_MEMBER, Role.SHADOW_MEMBER)
    assert len(members) == 70
    assert {split.role[i] for i in members} == {Role.TARGET_MEMBER, Role.SHADOW_MEMBER}
    everything = sorted(i for role in Role for i in split.rows(role).tolist())
    assert everything == list(range(len(split.sample_id)))
    assert list(split.sample_id) == sorted(split.sample_id)


def test_summary_counts() -> None:
    text = split_of()[0].summary()
    assert "160 x rows in" in text
    assert "largest of 3 rows; 0 exact duplicates merged, 40 rows unused" in text
    assert "target_nonmember      60 rows" in text
    assert "asked" not in text


def test_summary_says_what_was_asked_when_it_was_not_met() -> None:
    made, _ = data(100)
    tens = [f"g{i // 10}" for i in range(100)]
    sizes = RoleSizes(16, 14, 20, 20)
    split = make_split(made, tens, sizes, source="x", seed=0, max_distance=6)
    assert "20 rows in 2 groups, 16 requested" in split.summary()


SKIPPED = (
    *[Skip(f"{i}.png", f"{i}x20 px is too small: {i} bytes") for i in range(1200)],
    Skip("a.png", "cannot be decoded: truncated at byte 7", broken=True),
    Skip("b.png", "cannot be decoded: no image at all", broken=True),
    Skip("c.png", "cannot be decoded"),
)


def test_reasons_are_counted_by_kind_the_largest_first() -> None:
    assert reason_kind("31x20 px is too small: what the decoder said: more") == "is too small"
    assert reason_kind("a side of 31x20 is thin") == "a side of is thin"
    said = "1,200 is too small, 2 cannot be decoded (bad input), 1 cannot be decoded"
    assert reasons(SKIPPED) == said
    assert reasons(SKIPPED, most=1) == "1,200 is too small, 3 for other reasons"
    several = [Skip("x", f"kind {i}") for i in range(7) for _ in range(9 - i)]
    assert reasons(several).endswith("4 kind 5, 3 for other reasons")
    assert reasons(()) == ""


def test_the_summary_by_hand() -> None:
    made, groups = data(6)  # rows 0 to 2 are a group
    roles = [Role.TARGET_MEMBER] * 3 + [Role.SHADOW_MEMBER, Role.TARGET_NONMEMBER, None]
    with_skips = Listing(made.items, SKIPPED, duplicates=1234)
    sizes = RoleSizes(3, 2, 1, 0, 0)
    split = make_table(with_skips, groups, roles, sizes, source="x", seed=5, max_distance=4)
    assert (split.seed, split.max_distance, split.sizes) == (5, 4, sizes)
    assert split.summary().splitlines() == [
        "5 x rows in 3 near-duplicate groups, the largest of 3 rows; 1,234 exact duplicates merged,"
        " 1 rows unused",
        "  target_member          3 rows in 1 groups",
        "  target_nonmember       1 rows in 1 groups, 2 requested",
        "  shadow_member          1 rows in 1 groups",
        "  shadow_nonmember       0 rows in 0 groups",
        "  validation             0 rows in 0 groups",
        "  6 of 1,209 pairs can be used; skipped: 1,200 is too small, 2 cannot be decoded (bad"
        " input), 1 cannot be decoded",
    ]
    none = make_table(made, groups, [None] * 6, sizes, source="x", seed=0, max_distance=6)
    assert none.summary().startswith("0 x rows in 0 near-duplicate groups, the largest of 0 rows;")
    assert (none.skipped, none.note) == ((), "")


def test_the_summary_of_an_imported_split_asks_for_nothing() -> None:
    """Its rows are those of its file, whatever data.sizes could not have been met by them."""
    made, groups = data(6)
    roles = [Role.TARGET_MEMBER] * 3 + [Role.TARGET_NONMEMBER] * 3
    sizes = RoleSizes(300, 200, 100, 100)
    split = make_table(made, groups, roles, sizes, source="x", seed=0, max_distance=6)
    assert "  target_member          3 rows in 1 groups\n" in split.summary()
    assert "requested" not in split.summary()


def test_groups_between_pools_are_noted() -> None:
    """Rows 0 and 1 are one group in two pools, as is row 4, of which either pool has a copy."""
    pools = ["train", "val", "train", "val", "train+val", "val"]
    items = [Item(f"x:{i}", f"c{i}", f"{i}", blank, pool) for i, pool in enumerate(pools)]
    groups = ["a", "a", "b", "c", "d", "e"]
    sizes = RoleSizes(1, 1, 0, 0, 0)
    made, rules = listing(items), {"source": "x", "seed": 0, "max_distance": 6}
    allowed = {Role.TARGET_MEMBER: "train", Role.TARGET_NONMEMBER: "val"}
    split = make_split(made, groups, sizes, allowed=allowed, **rules)  # type: ignore[arg-type]
    assert (
        split.note == "3 rows in near-duplicate groups that reach into two pools have no such role"
    )
    assert split.summary().endswith(f"\n  {split.note}")
    assert {row.sample_id for row in split.table if row.role is Role.TARGET_MEMBER} == {"x:2"}
    assert make_split(made, groups, sizes, **rules).note == ""  # type: ignore[arg-type]
    apart = make_split(made, list("abcdef"), sizes, allowed=allowed, **rules)  # type: ignore[arg-type]
    assert apart.note.startswith("1 rows in")


def test_the_content_hash_is_that_of_the_rows_alone() -> None:
    one, made = split_of()
    elsewhere = replace(one, seed=9, note="imported", skipped=SKIPPED)
    assert elsewhere.content_hash == one.content_hash
    for field in ("sample_id", "group", "name", "caption_hash"):
        changed = replace(one.table[0], **{field: "another"})
        assert replace(one, table=(changed, *one.table[1:])).content_hash != one.content_hash
    assert one.content_hash == split_of()[0].content_hash
    assert made.items[0].caption not in str(one)  # captions are kept as hashes


@pytest.mark.parametrize("sizes", [COUNTS, QUARTERS])
def test_manifest_round_trip(tmp_path: Path, sizes: RoleSizes) -> None:
    split, made = split_of(sizes)
    path = tmp_path / "new" / "split.json"
    save_split(split, path)
    assert load_split(path) == split
    check_split(load_split(path), made, path)
    skipping = replace(split, skipped=SKIPPED[-3:], note="imported")
    save_split(skipping, path)
    assert load_split(path) == skipping
    save_split(split, path)
    fields = json.loads(path.read_text())
    assert fields["version"] == 1
    assert fields["hash"] == split.content_hash
    assert set(fields["rows"][0]) == {"sample_id", "group", "role", "name", "caption_hash"}
    assert [p.name for p in path.parent.iterdir()] == ["split.json"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"role": "validation"', '"role": "target_member"', "was edited"),
        ('"role": "validation"', '"role": "member"', "cannot be read: ValueError"),
        ('"version": 1', '"version": 2', "has version 2, not 1"),
        ('"seed"', '"sede"', "cannot be read: TypeError"),
        ('"hash"', '"hush"', "cannot be read: KeyError"),
        ("{", "[", "cannot be read: JSONDecodeError"),
    ],
)
def test_a_changed_manifest_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "split.json"
    save_split(split_of()[0], path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(MiaError, match=message) as error:
        load_split(path)
    assert f"Restore {path}, or delete it" in str(error.value)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"cannot be read: FileNotFoundError"):
        load_split(tmp_path / "split.json")


def test_data_that_changed_is_refused(tmp_path: Path) -> None:
    split, made = split_of(QUARTERS)
    items = {item.sample_id: item for item in made.items}
    del items["x:0007"]  # gone
    items["x:1000"] = Item("x:1000", "caption 8", "8.png", blank)  # another image, same name
    del items["x:0008"]
    items["x:0009"] = Item("x:0009", "another caption", "9.png", blank)
    path = tmp_path / "split.json"
    with pytest.raises(MiaError, match=r"1 of 200 rows are missing and 2 have another") as error:
        check_split(split, listing(items.values()), path)
    assert "x:0007 (7.png), x:0008 (8.png), x:0009 (9.png)" in str(error.value)
    assert f"delete {path} to make a new split" in str(error.value)


def test_a_message_names_three_examples_and_counts_the_rest(tmp_path: Path) -> None:
    split, made = split_of(QUARTERS)
    left = [item for item in made.items if int(item.name[:-4]) >= 5]
    with pytest.raises(MiaError, match=r"5 of 200 rows are missing and 0 have another") as error:
        check_split(split, listing(left), tmp_path)
    examples = "x:0000 (0.png), x:0001 (1.png), x:0002 (2.png)"
    assert f"for example {examples}. Restore the data" in str(error.value)


def test_a_split_without_skips_or_note_has_none() -> None:
    bare = Split("x", "print", 0, COUNTS, 6, 0, 0, ())
    assert (bare.skipped, bare.note) == ((), "")


def test_data_that_grew_or_was_renamed_still_fits(tmp_path: Path) -> None:
    split, made = split_of(QUARTERS)
    renamed = [Item(i.sample_id, i.caption, f"new/{i.name}", blank) for i in made.items]
    check_split(split, listing([*renamed, Item("x:9", "more", "more.png", blank)]), tmp_path)


def message(function: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(MiaError) as error:
        function(*arguments)
    return str(error.value)


def test_messages_to_the_letter(tmp_path: Path) -> None:
    split, made = split_of(QUARTERS)
    path = tmp_path / "split.json"
    advice = f"Restore {path}, or delete it to make a new split, which needs new fine-tunes."
    save_split(split, path)
    whole = path.read_text()
    path.write_text(whole.replace('"version": 1', '"version": 3'))
    assert message(load_split, path) == f"the split manifest has version 3, not 1. {advice}"
    path.write_text(whole.replace("x:0199", "x:1199"))
    assert message(load_split, path) == (
        f"the split manifest was edited: its rows do not give its hash {split.content_hash}."
        f" {advice}"
    )
    path.write_text("7")
    refused = message(load_split, path)
    assert refused.startswith("the split manifest cannot be read: AttributeError(")
    assert refused.endswith(f"). {advice}")
    assert message(check_split, split, listing(made.items[1:]), path) == (
        "the x data no longer matches its split: 1 of 200 rows are missing and 0 have another image"
        f" or caption, for example x:0000 (0.png). Restore the data, or delete {path} to make"
        " a new split, which needs new fine-tunes."
    )


def test_a_table_is_made_of_what_the_listing_says() -> None:
    made, groups = data(4)
    roles = [Role.VALIDATION, None, Role.SHADOW_MEMBER, None]
    with_skips = Listing(made.items[::-1], SKIPPED, duplicates=7)
    split = make_table(
        with_skips, groups[::-1], roles[::-1], COUNTS, source="y", seed=3, max_distance=2
    )
    assert split == Split(
        source="y",
        fingerprint=fingerprint(with_skips),
        seed=3,
        sizes=COUNTS,
        max_distance=2,
        duplicates=7,
        unused=2,
        table=(
            Row("x:0000", "x:0000", Role.VALIDATION, "0.png", hash_key("caption 0")),
            Row("x:0002", "x:0000", Role.SHADOW_MEMBER, "2.png", hash_key("caption 2")),
        ),
        skipped=SKIPPED,
    )
    for short in (groups[:3], groups * 2):
        with pytest.raises(ValueError, match="zip"):
            make_table(made, short, roles, COUNTS, source="y", seed=3, max_distance=2)


def test_a_manifest_of_before_skips_were_kept_has_none(tmp_path: Path) -> None:
    split, path = split_of()[0], tmp_path / "split.json"
    save_split(split, path)
    fields = json.loads(path.read_text())
    del fields["skipped"], fields["note"]
    path.write_text(json.dumps(fields))
    assert load_split(path) == split


def test_a_manifest_takes_the_place_of_an_older_one_below_folders_that_are_not_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a" / "b" / "split.json"
    for seed in (0, 1):
        save_split(split_of(seed=seed)[0], path)
        assert load_split(path).seed == seed


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "split.json")
    with pytest.raises(MiaError, match=r"the split manifest cannot be read: .*no regular file"):
        load_split(tmp_path / "split.json")


def test_a_manifest_that_is_nested_without_end_is_damaged(tmp_path):
    path = tmp_path / "split.json"
    path.write_text("[" * 100_000)
    with pytest.raises(MiaError, match="cannot be read"):
        load_split(path)
