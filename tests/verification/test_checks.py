"""Every check of a stored run: what was tampered with is named, and nothing else.

A forger who also mends the hashes of the manifest is met by what is recomputed.
"""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import yaml
from tampering import differing, edit_json, flip, mend, one_folder, run_folder, verdict

from mia_bench.data.split.manifest import load_split, save_split
from mia_bench.execution.run import execute
from mia_bench.storage.files import read_json
from mia_bench.storage.index import run_at
from mia_bench.verification.stored_run import StoredRun
from mia_bench.verify import run as verify


@pytest.mark.first_look
@pytest.mark.parametrize("name", ["loss", "clid", "clid-base", "ensemble"])
def test_an_untouched_run_agrees_to_the_bit(finished, name) -> None:
    found = verdict(run_folder(finished, name))
    assert {c.state for c in found.values()} == {"ok"}, found
    assert len(found) == 13
    assert found["scores"].message == "60 scores follow from the features, to the bit"


@pytest.mark.long
def test_a_split_calibration_agrees(small, tmp_path) -> None:
    """The target is the base itself, and half of its rows calibrate."""
    words = (
        "attack=loss",
        "calibration=split",
        "model.finetune=false",
        "data.random_labels=true",
        "data.sizes.target_member=40",
    )
    [(_, _, folder)] = execute(
        small(*words, "data.sizes.target_member=40", outputs=tmp_path)
    ).results
    assert {c.state for c in verdict(folder).values()} == {"ok"}


def test_an_edited_split_is_named(outputs) -> None:
    [path] = outputs.glob("splits/*.json")
    edit_json(path, lambda s: s["rows"][0].update(role="target_member", group="x"))
    assert "was edited" in differing(run_folder(outputs))["split"]


def test_a_split_with_a_mended_hash_is_another_split(outputs) -> None:
    from dataclasses import replace

    [path] = outputs.glob("splits/*.json")
    split = load_split(path)
    save_split(replace(split, table=split.table[1:]), path)
    assert "and the run was made with" in differing(run_folder(outputs))["split"]


def test_a_row_of_another_role_is_named(outputs) -> None:
    folder = run_folder(outputs)
    table = pd.read_parquet(folder / "scores.parquet")
    first, other = table.index[table.role == "target_member"][0], table.index[-1]
    sid = table.sample_id[first]
    table.loc[first, ["role", "is_member"]] = ["target_nonmember", False]
    table.loc[other, "sample_id"] = "openmoji:000000000000"
    table.to_parquet(folder / "scores.parquet", index=False)
    mend(folder, "scores.parquet")
    said = differing(folder)["rows"]
    assert "calibration rows add 1: openmoji:000000000000" in said
    assert f"{sid} is target_nonmember" in said


def test_a_flipped_bit_of_features_is_named(outputs) -> None:
    folder = run_folder(outputs, "loss")
    shadow = read_json(folder / "manifest.json")["models"]["shadow"]
    table = one_folder(outputs, f"features/{shadow}/*/loss-*")
    flip(table / "features.parquet", 100)
    found = differing(folder)
    assert f"{shadow}/4/{table.name}: features.parquet changed" in found["features"]
    assert "files" not in found


def test_a_missing_file_is_named(outputs) -> None:
    folder = run_folder(outputs)
    (folder / "roc.parquet").unlink()
    found = differing(folder)
    assert found["files"] == "roc.parquet is missing"
    assert set(found) == {"files", "roc"}


def test_flipped_weights_are_named(outputs) -> None:
    folder = run_folder(outputs)
    target = read_json(folder / "manifest.json")["models"]["target"]
    [weights] = outputs.glob(f"targets/{target}/steps/4/*.safetensors")
    flip(weights)
    found = differing(folder)
    assert set(found) == {"models"}
    assert f"target: steps/4/{weights.name} changed since it was written" in found["models"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda c: c["attack"]["clid"].update(alpha=0.25), {"key", "scores"}),
        (lambda c: c["calibration"].update(folds=4), {"key", "scores", "metrics"}),
        (lambda c: c["finetune"].update(lr=1.0), {"models"}),
        (lambda c: c["eval"].update(resamples=300), {"key", "metrics"}),
    ],
)
def test_an_edited_configuration_gives_another_key(outputs, change, names) -> None:
    folder = run_folder(outputs)
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))
    mend(folder, "config.yaml")
    found = set(differing(folder))
    assert found <= names
    assert found & {"key", "models"}


def test_other_versions_are_said_and_are_no_difference(outputs) -> None:
    folder = run_folder(outputs)
    edit_json(folder / "manifest.json", lambda m: m["versions"].update(torch="1.0", jax="3"))
    assert differing(folder) == {"files": "manifest.json changed since it was written"}
    mend(folder)
    found = verdict(folder)
    assert found["versions"].state == "note"
    assert "torch 1.0, here 2" in found["versions"].message
    assert "jax 3, here absent" in found["versions"].message
    assert differing(folder) == {}


def test_a_run_of_older_metrics_is_said_to_be_and_its_bounds_are_not_compared(outputs) -> None:
    folder = run_folder(outputs)
    older = folder.rename(folder.with_name(f"clid-{StoredRun(run_at(folder)).key(metrics=1)}"))
    edit_json(older / "metrics.json", lambda m: m["asr"].update(lo=0.123))
    mend(older, "metrics.json")
    found = verdict(older)
    assert found["key"].state == "note"
    assert "version 1 of the metrics" in found["key"].message
    assert differing(older) == {}
    edit_json(older / "metrics.json", lambda m: m["asr"].update(value=0.123))
    mend(older, "metrics.json")
    assert "asr.value" in differing(older)["metrics"]


def test_what_is_not_here_is_not_checked_and_no_difference(outputs, capsys) -> None:
    for part in ("features", "targets", "controls"):
        shutil.rmtree(outputs / part)
    folder = run_folder(outputs)
    found = verdict(folder)
    states = {
        c.state for n, c in found.items() if n in ("models", "features", "scores", "controls")
    }
    assert states == {"not checked"}
    assert differing(folder) == {}
    verify([str(folder)])
    said = capsys.readouterr().out
    assert "features  not checked" in said
    assert "1 agree, 0 differ" in said
