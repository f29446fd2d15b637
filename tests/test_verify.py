"""verify.py and the parts of verification: each thing tampered with is named, and no other.

A forger who also mends the hashes of the manifest is met by what is recomputed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mia_bench.data.split.manifest import load_split, save_split
from mia_bench.execution.run import execute
from mia_bench.storage.feature_table import Table, read_table, write_table
from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.hashing import hash_file
from mia_bench.storage.index import find_runs, run_at
from mia_bench.utils.errors import MiaError
from mia_bench.verification.result import Check
from mia_bench.verification.stored_run import StoredRun
from mia_bench.verify import check
from mia_bench.verify import run as verify

ATTACKS = ("attack=[loss,clid]", "eval.ensemble=true", "eval.base_calibrated=true")


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory) -> Path:
    """Outputs of a real small run: loss, loss-base, clid, clid-base and their ensemble."""
    outputs = tmp_path_factory.mktemp("finished") / "outputs"
    execute(small(*ATTACKS, outputs=outputs))
    return outputs


@pytest.fixture
def outputs(finished: Path, tmp_path: Path) -> Path:
    """A copy to tamper with; weights and latents are links, replaced before they are changed."""
    copy = tmp_path / "outputs"
    for part in ("runs", "features", "splits", "controls"):
        shutil.copytree(finished / part, copy / part)
    shutil.copytree(finished / "targets", copy / "targets", copy_function=os.link)
    return copy


def run_folder(outputs: Path, name: str = "clid") -> Path:
    return one_folder(outputs, f"runs/*/*/{name}-{'[0-9a-f]' * 16}")


def one_folder(outputs: Path, pattern: str) -> Path:
    """The one folder; lock files lie beside it."""
    [found] = [path for path in outputs.glob(pattern) if path.is_dir()]
    return found


def verdict(folder: Path) -> dict[str, Check]:
    return {c.name: c for c in check(run_at(folder))}


def differing(folder: Path) -> dict[str, str]:
    """What is said of every check that differs."""
    return {name: c.message for name, c in verdict(folder).items() if c.state == "DIFFERS"}


def mend(folder: Path, *names: str) -> None:
    """Give the manifest the hashes that its files have now."""
    manifest = read_json(folder / "manifest.json")
    manifest["files"] |= {name: hash_file(folder / name) for name in names}
    write_json(folder / "manifest.json", manifest)


def edit_json(path: Path, change: Callable[[dict], None]) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def flip(path: Path, at: int = -40) -> None:
    """One bit of a file, which is no link afterwards."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["loss", "clid", "clid-base", "ensemble"])
def test_an_untouched_run_agrees_to_the_bit(finished, name) -> None:
    found = verdict(run_folder(finished, name))
    assert {c.state for c in found.values()} == {"ok"}, found
    assert len(found) == 11
    assert found["scores"].message == "60 scores follow from the features, to the bit"


def test_a_split_calibration_agrees(small, tmp_path) -> None:
    """The target is the base itself, and half of its rows calibrate."""
    words = (
        "attack=loss",
        "calibration=split",
        "model.finetune=false",
        "data.sizes.target_member=40",
    )
    [(_, _, folder)] = execute(
        small(*words, "data.sizes.target_member=40", outputs=tmp_path)
    ).results
    assert {c.state for c in verdict(folder).values()} == {"ok"}


def test_a_changed_score_is_named(outputs) -> None:
    folder = run_folder(outputs)
    path = folder / "scores.parquet"
    table = pd.read_parquet(path)
    table.loc[3, "score"] += 1.0
    table.to_parquet(path, index=False)
    found = differing(folder)
    assert found["files"] == "scores.parquet changed since it was written"
    assert table.sample_id[3] in found["scores"]
    assert "score of 1 rows" in found["scores"]
    mend(folder, "scores.parquet")
    assert set(differing(folder)) == {"scores", "metrics", "roc"}


def test_an_edited_figure_is_named(outputs) -> None:
    folder = run_folder(outputs, "loss")
    path = folder / "metrics.json"
    before = read_json(path)["auroc"]["value"]
    edit_json(path, lambda m: m["auroc"].update(value=0.99))
    mend(folder, "metrics.json")
    assert differing(folder) == {"metrics": f"auroc.value {before:.6g}, stored 0.99"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(nfe_forward=1.5), {"scores": "nfe_forward 15, stored 1.5"}),
        (lambda m: m["chosen"].update(alpha=0.123), {"scores": "chosen.alpha"}),
        (lambda m: m["tpr_at_fpr"]["0.01"].update(value=1.0), {"metrics": "tpr_at_fpr.0.01.value"}),
        (lambda m: m["asr"].update(lo=0.0), {"metrics": "asr.lo"}),
        (lambda m: m["flags"].append("control_base"), {"metrics": "flags"}),
        (lambda m: m["controls"]["base"].update(p_value=1.0), {"metrics": "controls.base.p_value"}),
        (lambda m: m["controls"]["blind_image"].update(auroc=0.5), {"controls": "blind_image"}),
        (lambda m: m.update(better=1), {"metrics": "better is no entry"}),
    ],
)
def test_every_figure_is_recomputed(outputs, change, said) -> None:
    folder = run_folder(outputs)
    edit_json(folder / "metrics.json", change)
    mend(folder, "metrics.json")
    found = differing(folder)
    assert set(found) == set(said)
    for name, words in said.items():
        assert words in found[name]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["compared"]["best_by_calibration"].update(auroc=0.1), "compared.best_by_cal"),
        (lambda m: m["left_out"].update(map=9), "left_out.map None, stored 9"),
    ],
)
def test_what_the_ensemble_was_compared_with_is_recomputed(outputs, change, said) -> None:
    folder = run_folder(outputs, "ensemble")
    edit_json(folder / "metrics.json", change)
    mend(folder, "metrics.json")
    assert said in differing(folder)["scores"]


def test_an_ensemble_without_the_attacks_it_was_compared_with(outputs) -> None:
    folder = run_folder(outputs, "ensemble")
    gone = "clid_null-0123456789abcdef"  # of the same table as clid: compared with, not combined
    edit_json(folder / "manifest.json", lambda m: m["compared"].append(gone))
    found = verdict(folder)["scores"]
    assert found.state == "not checked"
    assert "compared with is not here any more" in found.message


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


def test_changed_features_with_a_mended_hash_give_other_scores(outputs) -> None:
    folder = run_folder(outputs, "loss")
    target = read_json(folder / "manifest.json")["models"]["target"]
    where = one_folder(outputs, f"features/{target}/*/loss-*")
    table = read_table(where / "features.parquet")
    first = next(iter(table.features))
    values = np.array(table.features[first])
    values[5] *= 3
    write_table(where / "features.parquet", Table(table.sample_id, {first: values}))
    mend(where, "features.parquet")
    found = differing(folder)
    assert set(found) == {"scores"}
    assert table.sample_id[5] in found["scores"]


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


def test_code_that_a_run_names_is_not_run(outputs, tmp_path, monkeypatch) -> None:
    """A run folder may come from anybody."""
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\nclass Attack: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    folder = run_folder(outputs)
    path = folder / "config.yaml"
    for target in ("evil.Attack", "mia_bench.attacks.clid.os.mkdir", "os.mkdir"):
        config = yaml.safe_load(path.read_text())
        config["attack"]["clid"] = {"_target_": target, "path": "made", "mode": 7}
        path.write_text(yaml.safe_dump(config))
        found = verdict(folder)
        assert found["scores"].state in ("not checked", "DIFFERS")
        assert found["key"].state in ("not checked", "DIFFERS")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.py", "outputs"]


def test_names_in_a_manifest_do_not_lead_out(outputs, tmp_path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = run_folder(outputs)

    def change(manifest: dict) -> None:
        manifest["files"]["../../../../../secret"] = hash_file(tmp_path / "secret")
        manifest["features"] = ["../secret"]

    edit_json(folder / "manifest.json", change)
    found = differing(folder)
    assert "secret leads out of the folder" in found["files"]
    assert "leads out of" in found["features"]


@pytest.mark.parametrize(
    "text", ["a: &a [1]\nb: *a\n", "!!python/object/apply:os.mkdir [made]", "[1, 2]", "a: [", ""]
)
def test_a_configuration_that_is_no_plain_mapping_is_refused(
    outputs, text, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run_folder(outputs)
    (folder / "config.yaml").write_text(text)
    assert "unreadable: " in differing(folder)["key"]
    assert not (tmp_path / "made").exists()


# --- the command ----------------------------------------------------------------------------------


def test_the_command_says_one_line_a_check_and_exits_with_1(outputs, capsys) -> None:
    folder = run_folder(outputs)
    verify([str(folder)])
    said = capsys.readouterr().out
    assert said.count("\n  ") == 11
    assert "1 runs checked: 1 agree, 0 differ; 0 unfinished" in said
    edit_json(folder / "metrics.json", lambda m: m["auroc"].update(value=0.99))
    with pytest.raises(SystemExit, match="1"):
        verify([f"paths.outputs={outputs}"])
    said = capsys.readouterr().out
    assert "5 runs checked: 4 agree, 1 differ" in said
    assert "metrics   DIFFERS      auroc.value" in said


def test_runs_are_found_by_folder_name_and_key(outputs) -> None:
    folder = run_folder(outputs)
    key = folder.name.rpartition("-")[2]
    for word in (str(folder), folder.name, key, key[:6]):
        assert [ref.folder for ref in find_runs(word, outputs)] == [folder], word
    for word in (key[:3], "clid", "nothing-0123456789abcdef"):
        with pytest.raises(MiaError, match=r"no run in .* is called"):
            find_runs(word, outputs)
    with pytest.raises(MiaError, match="is not a run's folder"):
        find_runs(str(outputs), outputs)


def test_an_unfinished_run_is_said_to_be(outputs, capsys) -> None:
    folder = run_folder(outputs)
    half = folder.rename(folder.with_name(folder.name + ".tmp"))
    with pytest.raises(SystemExit, match="1"):
        verify([folder.name, f"paths.outputs={outputs}"])
    assert f"{half}: unfinished: it was interrupted" in capsys.readouterr().out
    verify([f"paths.outputs={outputs}"])  # others are being made: no difference
    assert "4 agree, 0 differ; 1 unfinished" in capsys.readouterr().out
    half.rename(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(SystemExit, match="1"):
        verify([str(folder)])
    assert "has no manifest.json" in capsys.readouterr().out


def test_words_that_are_wrong(tmp_path) -> None:
    with pytest.raises(MiaError, match="holds no run"):
        verify([f"paths.outputs={tmp_path}"])
    with pytest.raises(MiaError, match=r"Did you mean 'paths\.outputs'"):
        verify(["paths.output=x"])
