"""Pictures without captions, with one for all, and with few: kept, planned, and said."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import write
from splits import split_of

from mia_bench.data.split.near_duplicates import group, telling_captions
from mia_bench.data.split.roles import Role
from mia_bench.execution.single_run import run_or_plan
from mia_bench.planning.describe import describe_plan
from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.errors import MiaError

FEW_ROWS = tuple(f"data.sizes.{role}={6 if 'target' in role else 0}" for role in Role)
SIDES = tuple(f"data.sizes.{role}={20 if 'target' in role else 0}" for role in Role)
ALIKE = 2
"""Pairs among the 70 random pictures that happen to have thumbnails within data.max_rmse."""


def album(root: Path, caption, n: int = 70) -> Path:
    """`n` pictures with caption(i), or without where it is None."""
    lines = []
    for i in range(n):
        write(root / f"p{i:03d}.png", encode(picture(2_000 + i)))
        if (text := caption(i)) is not None:
            lines.append(json.dumps({"file_name": f"p{i:03d}.png", "text": text}))
    if lines:
        write(root / "metadata.jsonl", "\n".join(lines))
    return root


def test_pictures_without_any_caption_are_kept_for_an_attacker_without_captions(
    folder_run, tmp_path
) -> None:
    root = album(tmp_path / "album", lambda _: None)
    run = folder_run("attack=loss", "data.captions=null", outputs=tmp_path, root=root)
    listing, split, _ = split_of(run, tmp_path)
    assert (len(listing.items), listing.skipped) == (70, ())
    assert {item.caption for item in listing.items} == {""}
    assert len(set(split.group)) == len(split.table) - ALIKE
    assert len(make_plan(run).runs) == 1


def test_attacks_that_compare_captions_are_refused_in_the_plan_by_name(
    folder_run, tmp_path
) -> None:
    root = album(tmp_path / "album", lambda _: None)
    words = ("attack=[loss,clid]", "data.captions=null", "plan_only=true")
    run = folder_run(*words, outputs=tmp_path, root=root)
    with pytest.raises(MiaError, match=r"attack clid: captions are needed.*attack=\[loss\]"):
        run_or_plan(run)


def test_all_attacks_are_those_that_do_without(folder_run, tmp_path) -> None:
    root = album(tmp_path / "album", lambda _: None)
    words = ("attack=[loss,clid]", "data.captions=null", "eval.inapplicable=skip")
    plan = make_plan(folder_run(*words, outputs=tmp_path, root=root))
    assert [run.name for run in plan.runs] == ["loss"]
    assert plan.experiment.left_out == {
        "clid": "captions are needed, and none of the 36 rows of imagefolder to be scored has one"
    }


def test_pictures_without_captions_take_those_of_a_file(folder_run, tmp_path) -> None:
    root = album(tmp_path / "album", lambda _: None)
    ids = [
        item.sample_id
        for item in split_of(
            folder_run("data.captions=null", outputs=tmp_path, root=root), tmp_path
        )[0].items
    ]
    path = tmp_path / "x.jsonl"
    rows = [{"sample_id": sid, "caption": f"picture {i}"} for i, sid in enumerate(ids)]
    path.write_text("\n".join(map(json.dumps, rows)))
    run = folder_run(f"data.captions=file:{path}", "attack=clid", outputs=tmp_path, root=root)
    plan = make_plan(run)
    assert {item.own_caption for item in plan.items.values()} == {""}
    assert len({plan.items[sid].caption for sid in plan.split.sample_id}) > 30


@pytest.mark.parametrize("kinds", [1, 3, 10])
def test_one_caption_for_all_or_a_few_link_nothing_and_it_is_said(
    kinds, folder_run, tmp_path
) -> None:
    root = album(tmp_path / "album", lambda i: f"a photo of sks dog {i % kinds}")
    split = split_of(folder_run(outputs=tmp_path, root=root), tmp_path)[1]
    assert len(set(split.group)) == len(split.table) - ALIKE == 68
    assert f"70 rows share {kinds} captions, which link no near-duplicates" in split.summary()


@pytest.mark.long
def test_duplicates_decides(folder_run, tmp_path) -> None:
    """35 captions of two pictures each; and p069 is p000 once more in other bytes."""
    root = album(tmp_path / "album", lambda i: f"picture {i // 2} of {'abc'[i // 2 % 3]} things")
    write(root / "p069.png", encode(picture(2_000), compress_level=1))
    groups = {}
    for links in ("null", "both", "caption", "image", "none"):
        run = folder_run(f"data.duplicates={links}", outputs=tmp_path, root=root)
        split = split_of(run, tmp_path)[1]
        groups[links] = len(set(split.group))
        assert len(split.table) == 70
    assert groups == {
        "null": 34 - ALIKE,
        "both": 34 - ALIKE,
        "caption": 35,
        "image": 69 - ALIKE,
        "none": 70,
    }
    assert len(list(tmp_path.glob("splits/*.json"))) == 5
    with pytest.raises(MiaError, match=r"data\.duplicates=pictures. .*image"):
        folder_run("data.duplicates=pictures", outputs=tmp_path, root=root)


def test_both_links_labels_too_and_the_refusal_names_the_way_out(folder_run, tmp_path) -> None:
    root = album(tmp_path / "album", lambda _: "a photo of sks dog")
    run = folder_run("data.duplicates=both", outputs=tmp_path, root=root)
    with pytest.raises(MiaError, match=r"holds 70 of 70 rows.*data\.duplicates=image"):
        split_of(run, tmp_path)


def test_captions_that_tell_of_one_picture() -> None:
    distinct = [f"c{i}" for i in range(90)]
    shared = ["untitled"] * 10  # of 100 rows, more than 5 %
    assert telling_captions([*distinct, *shared]) == [*distinct, *[None] * 10]
    pairs = [f"c{i // 2}" for i in range(100)]
    assert telling_captions(pairs) == pairs
    few = [f"c{i // 10}" for i in range(100)]
    assert set(telling_captions(few)) == {None}
    ids = [str(i) for i in range(100)]
    import numpy as np

    hashes = np.arange(100, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    sizes = Counter(group(ids, hashes, pairs, 0, links=None))
    assert set(sizes.values()) == {2}


def test_long_captions_and_captions_that_embed_alike_are_said(folder_run, tmp_path) -> None:
    words = " ".join(f"word{i}" for i in range(80))
    endings = {68: f"{words} one", 69: f"{words} two"}
    root = album(tmp_path / "album", lambda i: endings.get(i, f"picture {i} of {i * 7} things"))
    lines = "\n".join(describe_plan(make_plan(folder_run(outputs=tmp_path, root=root))))
    assert "captions: 2 of 70 are longer than the 32 tokens that the text encoder reads" in lines
    assert "captions: 70 distinct texts are 69 to the text encoder" in lines


@pytest.mark.long
def test_captions_that_fit_are_not_spoken_of(folder_run, tmp_path) -> None:
    assert "captions:" not in "\n".join(describe_plan(make_plan(folder_run(outputs=tmp_path))))


def test_languages_without_spaces_are_said_and_have_their_own_features(
    folder_run, tmp_path
) -> None:
    root = album(tmp_path / "album", lambda i: f"第{i}只黑猫坐在桌子上")
    plan = make_plan(folder_run("attack=[clid,loss]", outputs=tmp_path, root=root))
    lines = "\n".join(describe_plan(plan))
    assert "clid: 70 of 70 captions are of a language without spaces" in lines
    assert "loss:" not in lines


def test_an_audit_without_captions_keeps_pictures_that_have_none(folder_run, tmp_path) -> None:
    root = album(tmp_path / "album", lambda i: f"picture number {i}" if i % 2 else None)
    rows = "".join(f"p{i:03d}.png,{int(i < 35)}\n" for i in range(70))
    (tmp_path / "who.csv").write_text(f"name,is_member\n{rows}")
    audit = ("model.finetune=false", "calibration=split", f"data.split={tmp_path / 'who.csv'}")
    words = ("attack=loss", "data.captions=null", *FEW_ROWS)
    kept = split_of(folder_run(*words, *audit, outputs=tmp_path, root=root), tmp_path)
    assert (len(kept[0].items), len(kept[1].table), kept[1].skipped) == (70, 70, ())
    # what is trained here is trained on captions: the same pictures, whatever the attacker knows
    tuned = split_of(folder_run(*words, outputs=tmp_path, root=root), tmp_path)
    own = split_of(folder_run("attack=loss", *FEW_ROWS, outputs=tmp_path, root=root), tmp_path)
    assert tuned[1] == own[1]
    assert len(own[0].items) == 35
    with pytest.raises(MiaError, match=r"35 of 70 rows are not in the data"):
        split_of(
            folder_run("attack=loss", *FEW_ROWS, *audit, outputs=tmp_path, root=root), tmp_path
        )


def test_pictures_without_captions_on_one_side_are_named_with_the_key(folder_run, tmp_path) -> None:
    album(tmp_path / "given/members", lambda i: f"picture number {i}", 20)
    for i in range(20):
        write(tmp_path / f"given/nonmembers/n{i:03d}.png", encode(picture(5_000 + i)))
    audit = ("data=given", "model.finetune=false", "calibration=split", "attack=loss", *SIDES)
    run = folder_run(*audit, outputs=tmp_path, root=tmp_path / "given")
    with pytest.raises(MiaError, match=r"Skipped: 20 no caption.*data\.captions=null keeps"):
        split_of(run, tmp_path)
    run = folder_run(*audit, "data.captions=null", outputs=tmp_path, root=tmp_path / "given")
    assert len(split_of(run, tmp_path)[1].table) == 40
