"""Pictures and utility beside a stored run: an edited one is named, whoever mended its hashes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from PIL import Image
from tampering import differing, edit_json, flip, mend, run_folder, verdict

from mia_bench.display.pictures.evidence import PANELS, EvidenceRow, save_strips
from mia_bench.storage.artifacts import seal
from mia_bench.storage.files import read_json, write_json


@pytest.fixture
def evidence(outputs):
    """Evidence of two evaluation rows of a real run."""
    folder = run_folder(outputs)
    scores = pd.read_parquet(folder / "scores.parquet")
    two = scores[~scores.calibration].iloc[[0, -1]]
    rows = [EvidenceRow(r.sample_id, "a", r.score, r.is_member, "top") for r in two.itertuples()]
    save_strips(folder / "evidence", {name: torch.zeros(2, 3, 8, 8) for name in PANELS}, rows)
    seal(folder / "evidence", {"rows": 2})
    return folder / "evidence"


def test_a_run_without_pictures_says_so_and_one_with_them_agrees(outputs, evidence) -> None:
    assert verdict(run_folder(outputs, "loss"))["pictures"].message == "none were made"
    found = verdict(evidence.parent)["pictures"]
    assert (found.state, found.message) == ("ok", "evidence: as their manifests say")


def test_edited_evidence_is_named(evidence) -> None:
    edit_json(evidence / "index.json", lambda index: index["rows"][0].update(score=9.0))
    found = differing(evidence.parent)
    assert set(found) == {"pictures"}
    assert "evidence/index.json changed since it was written" in found["pictures"]
    mend(evidence, "index.json")
    assert "has the score 9, in scores.parquet" in differing(evidence.parent)["pictures"]


def test_evidence_of_other_rows_and_labels_is_named_though_its_hashes_are_mended(evidence) -> None:
    def change(index: dict) -> None:
        index["rows"][0]["sample_id"] = "openmoji:0"
        index["rows"][1]["is_member"] = not index["rows"][1]["is_member"]

    edit_json(evidence / "index.json", change)
    mend(evidence, "index.json")
    said = differing(evidence.parent)["pictures"]
    assert "openmoji:0 is no evaluation row" in said
    assert "has another label" in said


def test_evidence_without_its_manifest_is_named(evidence) -> None:
    (evidence / "manifest.json").unlink()
    assert "manifest.json: it is missing" in differing(evidence.parent)["pictures"]


def test_a_link_out_of_the_run_is_not_followed(outputs, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run_folder(outputs) / "evidence").symlink_to(tmp_path / "elsewhere")
    assert "leads out of the folder" in differing(run_folder(outputs))["pictures"]


def test_utility_is_held_to_its_manifest_and_its_model(outputs) -> None:
    folder = run_folder(outputs)
    target = read_json(folder / "manifest.json")["models"]["target"]
    measured = outputs / "utility" / target / folder.parent.name / "0123"
    measured.mkdir(parents=True)
    write_json(measured / "utility.json", {"model": target, "frechet": 2.0})
    Image.new("RGB", (8, 8)).save(measured / "samples.png")
    seal(measured, {})
    base = read_json(outputs / "targets" / target / "manifest.json")["base"]
    of_base = outputs / "utility" / base / "base" / "0123"
    of_base.mkdir(parents=True)
    write_json(of_base / "utility.json", {"model": base, "frechet": 3.0})
    seal(of_base, {})
    found = verdict(folder)["utility"]
    assert found.state == "ok"
    assert found.message.startswith("2 as their manifests say")
    assert "takes the model" in found.message
    edit_json(measured / "utility.json", lambda figures: figures.update(frechet=1.0))
    flip(measured / "samples.png")
    said = differing(folder)
    assert set(said) == {"utility"}
    for name in ("utility.json", "samples.png"):
        assert f"{measured.name}: {name} changed since it was written" in said["utility"]
    edit_json(measured / "utility.json", lambda figures: figures.update(model="other"))
    mend(measured, "utility.json", "samples.png")
    assert "of the model other" in differing(folder)["utility"]
    edit_json(of_base / "manifest.json", lambda manifest: manifest.update(split="another"))
    assert f"utility/{base}/base/0123: manifest.json changed" in differing(folder)["utility"]
    (measured / "utility.json").write_text(json.dumps([]))
    assert "holds no JSON object" in differing(folder)["utility"]
