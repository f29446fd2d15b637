"""Variants are alike, sealed, drawn by lot; a model that memorised the published ones shows it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from album import make_album
from PIL import Image

from mia_bench.audit.__main__ import run
from mia_bench.audit.variants import (
    check_seal,
    crops,
    families,
    find_ranks,
    make_variants,
)
from mia_bench.data.pictures.image_file import read_picture
from mia_bench.utils.errors import MiaError


@pytest.fixture
def sealed(tmp_path):
    originals, out = make_album(tmp_path / "originals", 4), tmp_path / "sealed"
    return out, make_variants(originals, out, 5, 0)


def test_every_version_is_of_one_kind(sealed):
    out, _ = sealed
    sizes = {read_picture(path).size for path in out.rglob("*.png")}
    assert len(sizes) == 1
    assert {p.parent.name: len(list(p.parent.glob("*.png"))) for p in out.glob("variants/*/*")} == {
        f"p{i:03d}": 5 for i in range(4)
    }
    lines = (out / "variants" / "metadata.jsonl").read_text().splitlines()
    captions = [json.loads(line)["text"] for line in lines]
    assert len(captions) == 20
    assert len({c for c in captions if "picture 0 of" in c}) == 5


def test_which_one_is_published_is_no_function_of_the_seed(tmp_path):
    """Two makings with one seed agree in every published picture with probability 6^-12."""
    originals = make_album(tmp_path / "originals", 12)
    hashes = [make_variants(originals, tmp_path / name, 5, 0) for name in ("one", "two")]
    assert hashes[0] != hashes[1]


def test_crops_are_of_different_places():
    picture = Image.fromarray(np.arange(40 * 30 * 3, dtype=np.uint8).reshape(30, 40, 3))
    made = crops(picture, 12, 0, "a")
    assert len({crop.tobytes() for crop in made}) == 12
    assert {crop.size for crop in made} == {(36, 27)}
    assert len(crops(Image.new("RGB", (3, 3)), 5, 0, "small")) == 5


def test_the_seal_holds(sealed):
    out, hash_of_all = sealed
    assert check_seal(out / "variants", out / "published")[0] == hash_of_all


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: (out / "variants" / "p001" / "00.png").unlink(), "variants/p001/00.png"),
        (lambda out: (out / "variants" / "p001" / "new.png").write_bytes(b"x"), "new.png"),
        (
            lambda out: (out / "seal.json").write_text(
                (out / "seal.json").read_text().replace('"count": 5', '"count": 9')
            ),
            "was edited",
        ),
    ],
)
def test_a_broken_seal_is_named(sealed, change, message):
    out, _ = sealed
    change(out)
    with pytest.raises(MiaError, match=message):
        check_seal(out / "variants", out / "published")


def test_other_published_pictures_are_refused(sealed, tmp_path):
    out, _ = sealed
    with pytest.raises(MiaError, match="the seal does not know"):
        check_seal(out / "variants", make_album(tmp_path / "others", 1, first=90))


def test_variants_without_a_seal_are_said_to_be(sealed):
    out, _ = sealed
    (out / "seal.json").unlink()
    seal, words = check_seal(out / "variants", out / "published")
    assert seal is None
    assert "rests on your word" in words


def test_what_cannot_be_made_is_refused(tmp_path, sealed):
    out, _ = sealed
    with pytest.raises(MiaError, match="not empty"):
        make_variants(out / "published", out, 5, 0)
    with pytest.raises(MiaError, match="at least one variant"):
        make_variants(out / "published", tmp_path / "new", 0, 0)


def table(shift: float) -> pd.DataFrame:
    """Six pictures with nine variants each, of two attacks."""
    rng, rows = np.random.default_rng(0), []
    for i in range(6):
        level = rng.normal() * 5  # of the picture, which variants share
        for k in range(10):
            name = f"p{i}.png" if k == 0 else f"p{i}/{k:02d}.png"
            scores = {a: level + rng.normal() + shift * (k == 0) for a in ("a", "b")}
            rows.append(
                {"sample_id": f"{i}-{k}", "name": name, "is_first": k == 0, "group": "", **scores}
            )
    return pd.DataFrame(rows)


def test_published_versions_that_rank_first_are_found():
    findings, ranked = find_ranks(table(6.0), ["a", "b"], 0.01)
    assert findings.p_value == pytest.approx(1e-6)
    assert findings.auroc == 1.0
    assert (findings.called, findings.called_of) == (6, 6)
    assert ranked.combined.between(0, 1).all()


def test_versions_alike_are_no_evidence():
    findings, _ = find_ranks(table(0.0), ["a", "b"], 0.01)
    assert findings.p_value > 0.05
    assert findings.smallest_leak is not None


def test_a_picture_without_variants_is_named():
    some = table(0.0).iloc[[0, *range(10, 60)]]
    with pytest.raises(MiaError, match=r"p0\.png.*p0/"):
        families(some.name, some.is_first)


@pytest.mark.long
def test_an_audit_with_variants_from_end_to_end(sealed, tmp_path, capsys):
    out, hash_of_all = sealed
    words = ["data", "model=tiny", f"mine={out / 'published'}", f"variants={out / 'variants'}"]
    run([*words, "attacks=sima", "trainer=cpu", f"paths.outputs={tmp_path / 'outputs'}"])
    said = capsys.readouterr().out
    assert hash_of_all in said
    assert "rank test among 5 variants" in said
    shutil.rmtree(tmp_path / "outputs" / "reports")
