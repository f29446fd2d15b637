"""splits.py: from a source to a manifest; nothing shrinks silently."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import coco, write
from PIL import Image
from splits import split_of

from mia_bench.config.compose import conf_dir
from mia_bench.data.split.prepare import role_pools
from mia_bench.data.split.roles import Role, RoleSizes
from mia_bench.execution.single_run import run_or_plan
from mia_bench.utils.errors import MiaError, Missing


def test_a_split_is_made_once(folder_run, tmp_path) -> None:
    experiment = folder_run(outputs=tmp_path)
    listing, split, path = split_of(experiment, tmp_path)
    assert len(listing.items) == 70
    assert split.skipped == ()
    before = path.read_bytes()
    assert split_of(experiment, tmp_path)[1] == split
    assert path.read_bytes() == before


def test_what_was_skipped_stands_in_the_manifest_and_in_the_summary(folder_run, tmp_path) -> None:
    from album import make_album

    root = make_album(tmp_path / "album", 70)
    write(root / "broken.png", encode(picture(1))[:50])
    write(root / "broken.txt", "a broken picture")
    write(root / "silent.png", encode(picture(2)))
    experiment = folder_run(outputs=tmp_path / "out", root=root)
    _, split, path = split_of(experiment, tmp_path / "out")
    said = {row["name"]: row["reason"] for row in json.loads(path.read_text())["skipped"]}
    assert said.keys() == {"broken.png", "silent.png"}
    assert "unreadable: the file is broken" in said["broken.png"]
    assert "70 of 72 pairs can be used" in split.summary()
    assert "1 no caption (bad input)" in split.summary()
    assert split_of(experiment, tmp_path / "out")[1].summary() == split.summary()


@pytest.mark.parametrize("bad", ["caption", "picture"])
def test_on_error_raise_stops_at_the_first(bad: str, folder_run, tmp_path: Path) -> None:
    from album import make_album

    root = make_album(tmp_path / "album", 70)
    write(root / "bad.png", encode(picture(1))[:50] if bad == "picture" else encode(picture(1)))
    if bad == "picture":
        write(root / "bad.txt", "a caption")
    reason = "unreadable" if bad == "picture" else "no caption"
    experiment = folder_run("data.on_error=raise", outputs=tmp_path / "out", root=root)
    with pytest.raises(MiaError, match=rf"bad\.png: {reason}.*data\.on_error=skip"):
        split_of(experiment, tmp_path / "out")
    assert not (tmp_path / "out/splits").exists()
    # with a split that was made without the bad pair it still stops there, until it is repaired
    split_of(folder_run(outputs=tmp_path / "out", root=root), tmp_path / "out")
    with pytest.raises(MiaError, match=rf"bad\.png: {reason}.*data\.on_error=skip"):
        split_of(experiment, tmp_path / "out")
    (root / "bad.png").unlink()
    split_of(experiment, tmp_path / "out")


def test_a_folder_without_any_pair_says_why(folder_run, tmp_path: Path) -> None:
    write(tmp_path / "album/a.png", encode(picture(0)))
    with pytest.raises(MiaError, match=r"offers no usable .* pair\. Skipped: 1 no caption"):
        split_of(folder_run(outputs=tmp_path, root=tmp_path / "album"), tmp_path)


@pytest.fixture
def coco_run(small, tmp_path):
    coco(tmp_path / "coco", "val2017", 40)
    coco(tmp_path / "coco", "train2017", 40, first=100)

    def build(*overrides: str):
        sizes = [f"data.sizes.{role}=12" for role in Role]
        where = ("data=mscoco", f"data.source.root={tmp_path / 'coco'}")
        return small(*where, *sizes, *overrides, outputs=tmp_path)

    return build


def test_roles_stay_in_their_pools(coco_run, tmp_path: Path) -> None:
    split = split_of(coco_run(), tmp_path)[1]
    pools = {(row.role, row.name.partition("/")[0]) for row in split.table}
    assert pools == {
        ("target_member", "val2017"),
        ("target_nonmember", "val2017"),
        ("shadow_member", "train2017"),
        ("shadow_nonmember", "train2017"),
        ("validation", "train2017"),
    }
    assert set(Counter(split.role).values()) == {12}


def test_a_near_duplicate_in_both_pools_has_no_role(coco_run, tmp_path: Path) -> None:
    """Picture 7 is stored a second time, as another file of equal pixels, in train2017."""
    twin = encode(Image.open(tmp_path / "coco/val2017/000000000007.jpg"))
    write(tmp_path / "coco/train2017/000000000105.jpg", twin)
    split = split_of(coco_run(), tmp_path)[1]
    names = {row.name for row in split.table}
    assert not {"val2017/000000000007.jpg", "train2017/000000000105.jpg"} & names
    assert "2 rows in near-duplicate groups that reach into two pools" in split.summary()


def test_a_pool_for_a_role_that_does_not_exist(coco_run, tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"data\.pools: 'member' is not a valid Role"):
        split_of(coco_run("+data.pools.member=val2017"), tmp_path)


def test_a_pool_that_is_empty_is_named(coco_run, tmp_path: Path) -> None:
    with pytest.raises(MiaError, match="only those of the pool 'test2017'"):
        split_of(coco_run("data.pools.target_member=test2017"), tmp_path)


def test_a_plan_downloads_nothing(small, tmp_path: Path) -> None:
    experiment = small(
        "data=mscoco", f"data.source.root={tmp_path}", "plan_only=true", outputs=tmp_path
    )
    with pytest.raises(Missing, match="a run would download lmms-lab/COCO-Caption2017"):
        split_of(experiment, tmp_path)


def test_options_at_their_defaults_leave_the_key_of_a_split_alone(small, tmp_path: Path) -> None:
    data = small(outputs=tmp_path).options.data
    assert data.split_identity("source") == ["source", data.sizes, data.split_seed, 6]
    data.max_rmse = 5.0
    assert data.split_identity("source")[4:] == [{"max_rmse": 5.0}]


@pytest.mark.first_look(3)
@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_dir() / "data").glob("*.yaml")))
def test_every_data_set_composes_and_is_planned_without_being_there(
    name: str, experiment, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Sizes and pools are valid; what is not on this machine is named, and nothing is fetched."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MIA_BENCH_DATA", str(tmp_path / "data"))
    audit = ("model.finetune=false", "calibration=split") if name in ("laion_mi", "given") else ()
    here = () if name == "openmoji" else (f"data.source.root={tmp_path / 'nowhere'}",)
    run = experiment(
        f"data={name}", *audit, *here, "plan_only=true", f"paths.outputs={tmp_path / 'out'}"
    )
    RoleSizes.of(run.options.data.sizes)
    assert role_pools(run.options.data.pools) or not run.options.data.pools
    assert run.source.name == name
    assert run_or_plan(run) is None
    said = capsys.readouterr().out
    assert ("missing: data=" + name in said) == (name != "openmoji")


def test_members_of_a_pre_training_are_not_fine_tuned_on(experiment) -> None:
    with pytest.raises(MiaError, match=r"add model\.finetune=false calibration=split"):
        experiment("data=laion_mi")
