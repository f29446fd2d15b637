"""One poisoned run beside a good one: every command shows the good one and names the bad one.

The runs are real. Whoever poisons one mends its hashes and its seal, so that only reading it tells.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mia_bench.dataset_test import main as dataset_test
from mia_bench.execution.run import execute
from mia_bench.report.__main__ import run as report
from mia_bench.status import main as status
from mia_bench.storage.artifacts import seal
from mia_bench.storage.hashing import hash_file, hash_key
from mia_bench.storage.index import finished_runs, run_at
from mia_bench.storage.stored_files import Unreadable
from mia_bench.studies.seeds import difference, readable_difference
from mia_bench.sweep.throughput import measured
from mia_bench.sync import COMMAND as SYNC
from mia_bench.tracking import mirror
from mia_bench.tracking.options import options_of
from mia_bench.tracking.sync import entries, sync
from mia_bench.verification.stored_run import StoredRun
from mia_bench.verify import run as verify

Poison = Callable[[Path], None]


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory) -> Path:
    """Outputs of a real small run of two attacks."""
    outputs = tmp_path_factory.mktemp("finished") / "outputs"
    execute(small("attack=[loss,pia]", "eval.blind_rows=false", outputs=outputs))
    return outputs


@pytest.fixture
def outputs(finished: Path, tmp_path: Path) -> Path:
    """A copy to poison; weights and tables are links."""
    copy = tmp_path / "outputs"
    for part in ("runs", "splits"):
        shutil.copytree(finished / part, copy / part)
    for part in ("features", "targets"):
        shutil.copytree(finished / part, copy / part, copy_function=os.link)
    return copy


def run_folder(outputs: Path, attack: str) -> Path:
    [found] = [path for path in outputs.glob(f"runs/*/*/{attack}-*") if path.is_dir()]
    return found


def reseal(folder: Path) -> None:
    """Give the manifest the hashes that its files have now, and a seal that fits."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("seal", None)
    manifest["files"] = {name: hash_file(folder / name) for name in manifest["files"]}
    text = json.dumps({**manifest, "seal": hash_key(manifest)})
    (folder / "manifest.json").write_text(text)


def edited(name: str, change: Callable[[Any], None]) -> Poison:
    """A poison that changes what a JSON or YAML file holds."""

    def poison(folder: Path) -> None:
        path = folder / name
        read, write = (yaml.safe_load, yaml.safe_dump) if name.endswith("yaml") else JSON
        value = read(path.read_text())
        change(value)
        path.write_text(write(value))
        reseal(folder)

    return poison


JSON = (json.loads, json.dumps)


def replaced(name: str, text: str) -> Poison:
    def poison(folder: Path) -> None:
        (folder / name).write_text(text)
        if name != "manifest.json":
            reseal(folder)

    return poison


def moved_out(folder: Path) -> None:
    elsewhere = folder.parents[4] / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


def too_large(folder: Path) -> None:
    with (folder / "metrics.json").open("a") as handle:
        handle.write(" " * (17 << 20))
    reseal(folder)


DEEP = "[" * 500 + "]" * 500
POISONS: dict[str, tuple[Poison, str]] = {
    "nfe is a text": (
        edited("metrics.json", lambda m: m.update(nfe_forward="many")),
        "metrics.json: nfe_forward is 'many', no number",
    ),
    "a share above one": (
        edited("metrics.json", lambda m: m["auroc"].update(value=1.7)),
        "metrics.json: auroc.value is 1.7, out of its range",
    ),
    "fewer members than none": (
        edited("metrics.json", lambda m: m.update(n_members=-5)),
        "metrics.json: n_members is -5, out of its range",
    ),
    "seconds are too many": (
        replaced("metrics.json", '{"seconds": ' + "9" * 999 + "}"),
        "metrics.json: it holds a number of 999 digits",
    ),
    "versions are a list": (
        edited("manifest.json", lambda m: m.update(versions=["torch"])),
        "manifest.json: versions is ['torch'], no object",
    ),
    "deep metrics": (
        replaced("metrics.json", f'{{"chosen": {{"a": {DEEP}}}}}'),
        "metrics.json: it is nested more than 64 levels deep",
    ),
    "a deep manifest": (
        replaced("manifest.json", "[" * 100_000),
        "manifest.json: it is too deeply nested",
    ),
    "large metrics": (too_large, "bytes, more than 16,777,216"),
    "a link out": (moved_out, "it is a link that leads out of"),
}


@pytest.mark.first_look(2)
@pytest.mark.parametrize("name", POISONS)
def test_every_command_goes_on_and_names_it(outputs, capsys, name) -> None:
    poison, reason = POISONS[name]
    poison(run_folder(outputs, "pia"))
    good, bad = run_folder(outputs, "loss").name, run_folder(outputs, "pia").name

    status([f"paths.outputs={outputs}"])
    lines = capsys.readouterr().out.splitlines()
    [row] = [line for line in lines if " loss " in line]
    assert "[0." in row
    [row] = [line for line in lines if " pia " in line]
    assert "[0." not in row
    [note] = [line for line in lines if line.startswith("note: ")]
    assert bad in note
    assert reason in note

    page = report([f"paths.outputs={outputs}"]).read_text(encoding="utf-8")
    assert good.removeprefix("loss-") in page
    assert reason.replace("'", "&#39;") in page

    with pytest.raises(SystemExit, match="1"):
        verify([f"paths.outputs={outputs}"])
    printed = capsys.readouterr().out
    assert f"{good}: 13 ok" in printed
    assert reason in printed
    assert bad in printed

    records = list(entries(outputs))
    assert good.removeprefix("loss-") in {record.id for record in records}
    assert bad.removeprefix("pia-") not in {record.id for record in records}
    assert reason in capsys.readouterr().err
    assert measured(outputs).image


def test_a_configuration_of_other_types(outputs, capsys) -> None:
    folder = run_folder(outputs, "pia")
    edited("config.yaml", lambda c: c["data"].update(source=["x"]))(folder)
    page = report([f"paths.outputs={outputs}"]).read_text(encoding="utf-8")
    assert "config.yaml: data.source is [&#39;x&#39;], no object" in page
    with pytest.raises(SystemExit, match="1"):
        verify([f"paths.outputs={outputs}"])
    assert "2 runs checked: 1 agree, 1 differ" in capsys.readouterr().out
    assert len(list(entries(outputs))) == 4  # two models, one run, one report


@pytest.mark.long
def test_scores_that_cannot_be_read(outputs, capsys, monkeypatch) -> None:
    """W&B gets the other records; whatever compares runs says which one it cannot read."""
    monkeypatch.setattr(mirror, "_unreachable", [])
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    good, bad = run_folder(outputs, "loss"), run_folder(outputs, "pia")
    (bad / "scores.parquet").write_bytes(b"PAR1")
    reseal(bad)
    assert sync(options_of(SYNC, [f"paths.outputs={outputs}", "wandb=offline"])) == 1
    streams = capsys.readouterr()
    assert f"not sent to W&B: runs/{'/'.join(bad.parts[-3:])}: unreadable: " in streams.err
    assert "5 runs in" in streams.out
    assert "4 recorded offline, 1 not recorded offline" in streams.out
    with pytest.raises(Unreadable):
        difference(good, bad, 0)
    assert readable_difference(good, bad, 0)["value"] is None
    assert readable_difference(good, good, 0)["value"] == 0
    assert f"no difference of {good.name} and {bad.name}: unreadable: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        dataset_test([str(bad)])
    assert "unreadable: " in capsys.readouterr().err


def test_figures_that_were_edited_are_not_shown(outputs, capsys) -> None:
    folder = run_folder(outputs, "pia")
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["auroc"]["value"] = 0.99
    path.write_text(json.dumps(metrics))
    status([f"paths.outputs={outputs}"])
    printed = capsys.readouterr().out
    assert "0.990" not in printed
    assert "unverified: metrics.json changed since it was written" in printed
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["metrics.json"] = hash_file(path)  # and its own seal left as it was
    (folder / "manifest.json").write_text(json.dumps(manifest))
    status([f"paths.outputs={outputs}"])
    assert "unverified: manifest.json changed since it was written" in capsys.readouterr().out
    page = report([f"paths.outputs={outputs}"]).read_text(encoding="utf-8")
    assert "unverified: manifest.json changed since it was written" in page


def test_figures_whose_seal_was_taken_away_are_marked(outputs, capsys) -> None:
    folder = run_folder(outputs, "pia")
    edited("metrics.json", lambda m: m["auroc"].update(value=0.999))(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["seal"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    status([f"paths.outputs={outputs}"])
    [note] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert f"{folder.name}: unverified: manifest.json has no seal" in note


def test_the_environment_is_not_read_into_what_a_configuration_says(
    outputs, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("PRIVATE_WORD", "do-not-print-this")
    folder = run_folder(outputs, "pia")

    def change(config: Any) -> None:
        config["finetune"]["lr"] = "${oc.env:PRIVATE_WORD}"
        config["data"]["name"] = "${oc.env:PRIVATE_WORD}"
        config["attack"]["pia"]["t"] = "\\${oc.env:PRIVATE_WORD}"

    edited("config.yaml", change)(folder)
    with pytest.raises(SystemExit, match="1"):
        verify([f"paths.outputs={outputs}", "all=true"])
    report([f"paths.outputs={outputs}"])
    pages = [path for path in (outputs / "reports").rglob("*") if path.is_file()]
    texts = [path.read_text(encoding="utf-8") for path in pages]
    streams = capsys.readouterr()
    assert "do-not-print-this" not in "".join([streams.out, streams.err, *texts])
    assert "${oc.env:PRIVATE_WORD}" in "".join(texts)


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "\\${a}", "\\\\${a}", "a\\b", "${${x}}", "$"])
def test_options_keep_the_text_of_a_configuration(outputs, value) -> None:
    folder = run_folder(outputs, "pia")
    edited("config.yaml", lambda c: c["data"].update(name=value))(folder)
    assert StoredRun(run_at(folder)).options.data.name == value


def test_evidence_that_leads_out_is_not_shown(outputs, tmp_path) -> None:
    from PIL import Image

    (tmp_path / "private").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "private" / "secret.png")
    evidence = run_folder(outputs, "pia") / "evidence"
    evidence.mkdir()
    Image.new("RGB", (64, 64), "blue").save(evidence / "own.png")
    (evidence / "linked.png").symlink_to(tmp_path / "private" / "secret.png")
    seal(evidence, {})
    (run_folder(outputs, "loss") / "evidence").symlink_to(tmp_path / "private")
    page = report([f"paths.outputs={outputs}"]).read_text(encoding="utf-8")
    assert page.count('src="data:image/webp') == 1
    assert "evidence/linked.png" in page
    assert "not shown: it leads out of the folder" in page
    assert "not shown: it is a link that leads out of the run" in page
    assert len(finished_runs(outputs)) == 2
