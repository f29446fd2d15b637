"""The page: one file, no network, nothing untrusted that could run, bounded in size."""

from __future__ import annotations

import json
import re

import pytest
import torch
from html_tags import tags

from mia_bench.display.pictures.evidence import PANELS, EvidenceRow, save_strips
from mia_bench.display.svg.style import COLOURS, DASHES
from mia_bench.evaluation.score_table import score_table_metrics
from mia_bench.report.__main__ import run
from mia_bench.report.html import command, page_style
from mia_bench.storage.artifacts import seal
from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
FOLDER = HOSTILE.replace("/", "")  # what a folder may be called


def report(outputs, *words) -> str:
    return run([f"paths.outputs={outputs}", *words]).read_text(encoding="utf-8")


@pytest.fixture
def hostile(tmp_path, write_run, scores, quiet):
    """A run whose every name, id, caption, source and command wants to be a script."""
    table = scores(1.0, 0)
    table["sample_id"] = [f"{HOSTILE}{i}" for i in range(len(table))]
    controls = {**quiet(), f"blind_{HOSTILE}": {"auroc": 0.5, "p_value": 0.9}}
    folder = write_run(
        tmp_path,
        FOLDER,
        table=table,
        controls=controls,
        access=HOSTILE,
        model={"_target_": "x", "path": HOSTILE},
        data={"name": HOSTILE, "source": {"_target_": "x.Y", "licence": HOSTILE}},
        mitigation={HOSTILE: {"a": HOSTILE}},
        published={
            "source": HOSTILE,
            "comparable": HOSTILE,
            "notes": [HOSTILE],
            "attacks": {FOLDER: {"auroc": 0.9}},
        },
    )
    images = {name: torch.zeros(1, 3, 8, 8) for name in PANELS}
    save_strips(folder / "evidence", images, [EvidenceRow(HOSTILE, HOSTILE, 0.5, True, HOSTILE)])
    seal(folder / "evidence", {})
    utility = tmp_path / "utility" / folder.parent.parent.name / "300" / "k"
    utility.mkdir(parents=True)
    values = {"frechet": 1.0, "heldout_loss": 0.1, "frechet_features": HOSTILE}
    write_json(utility / "utility.json", values)
    seal(utility, {})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"command": ["__main__.py", HOSTILE], "versions": {HOSTILE: HOSTILE}}
    manifest |= {"git_commit": HOSTILE, "platform": HOSTILE}
    del manifest["seal"]
    write_json(folder / "manifest.json", {**manifest, "seal": hash_key(manifest)})
    broken = folder.with_name(f"{FOLDER}-broken")
    broken.mkdir()
    return tmp_path


def test_untrusted_text_stays_text(hostile):
    page = report(hostile, f"name={HOSTILE}")
    found = tags(page)
    scripts = [attributes for tag, attributes in found if tag == "script"]
    assert scripts == [{}]
    assert not any(name.startswith("on") for _, attributes in found for name in attributes)
    assert {a["src"][:10] for tag, a in found if tag == "img"} == {"data:image"}
    assert page.count("&lt;script&gt;alert(1)") > 15
    assert "alert(1)" not in re.sub(r"&lt;script&gt;alert\(1\)", "", page)


def test_files_beside_the_page_are_harmless_too(hostile):
    path = run([f"paths.outputs={hostile}"])
    for name in ("table.md", *(f"figures/{p.name}" for p in path.parent.glob("figures/*.svg"))):
        text = (path.parent / name).read_text()
        assert "<script" not in text
        assert "<img" not in text


def test_the_page_asks_no_network(tmp_path, write_run):
    write_run(tmp_path)
    page = report(tmp_path)
    for tag, attributes in tags(page):
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name) or "#"
            own = value == "https://openmoji.org" or value.startswith("https://arxiv.org/abs/")
            linked = tag == "a" and own  # followed by people alone
            assert value.startswith(("#", "data:")) or linked
    assert "url(" not in page
    assert "@import" not in page
    policy = next(a["content"] for t, a in tags(page) if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "sha256-" in policy


def test_what_must_be_said_is_said(tmp_path, write_run, quiet):
    write_run(
        tmp_path,
        "clid",
        controls=quiet(p_image=0.001),
        published={
            "source": "arXiv 0000.00000",
            "attacks": {"clid": {"auroc": 0.5}},
        },
    )
    (tmp_path / "runs" / "m" / "300" / "loss-0.tmp").mkdir(parents=True)
    page = report(tmp_path)
    assert "Controls found something" in page
    assert "unfinished: it was interrupted" in page
    assert "Drawings are not photographs" in page
    assert "OpenMoji" in page
    assert "CC BY-SA 4.0" in page
    assert "outside CI" in page
    assert "other models, data and training regimes" in page
    assert "are recomputed from the scores" in re.sub(r"\s+", " ", page)


def test_nothing_drawn_is_not_called_a_drawing(tmp_path, write_run):
    data = {"name": "mscoco", "source": {"_target_": "x"}}
    write_run(tmp_path, data=data, model={"path": "sd15", "_target_": "x"})
    page = report(tmp_path)
    assert "Drawings are not photographs" not in page
    assert "Fluent emoji" not in page


def test_tables_and_figures_lie_beside_the_page(tmp_path, write_run):
    for step in ("100", "300"):
        write_run(tmp_path, step=step)
    folder = run([f"paths.outputs={tmp_path}", "name=mine"]).parent
    assert folder == tmp_path / "reports" / "mine"
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {"index.html", "table.csv", "table.md", "table.tex"} < names
    drawn = {"roc-1", "roc-2", "nfe-1", "scores-1", "trajectory-1-auroc", "trajectory-1-tpr"}
    assert {f"figures/{name}.svg" for name in drawn} <= names
    (folder / "figures" / "old.svg").touch()
    run([f"paths.outputs={tmp_path}", "name=mine"])
    assert not (folder / "figures" / "old.svg").exists()


def test_filters_narrow_a_report_and_name_what_is_there(tmp_path, write_run):
    write_run(tmp_path, "clid")
    write_run(tmp_path, "loss")
    assert ">loss</a>" not in report(tmp_path, "attack=clid")
    with pytest.raises(MiaError, match="no run has attack=x; there are clid, loss"):
        run([f"paths.outputs={tmp_path}", "attack=x"])


def test_a_report_over_nothing_says_what_to_do(tmp_path):
    with pytest.raises(MiaError, match=r"is no folder: run `mia-bench`"):
        run([f"paths.outputs={tmp_path / 'none'}"])
    with pytest.raises(MiaError, match="no finished run under"):
        run([f"paths.outputs={tmp_path}"])
    (tmp_path / "runs" / "m" / "300" / "loss-0").mkdir(parents=True)
    with pytest.raises(MiaError, match=r"unfinished: it has no manifest\.json"):
        run([f"paths.outputs={tmp_path}"])


def test_the_command_is_one_a_person_can_type():
    assert command({"command": ["__main__.py", "attack=[clid,loss]"]}) == (
        "python -m mia_bench 'attack=[clid,loss]'"
    )
    assert command({"command": ["seeds.py", "0"]}) == "python -m mia_bench.seeds 0"
    assert command({"command": ["beside.py"]}) == "unknown"
    assert command({"command": ["mia-bench", "attack=[clid,loss]"]}) == (
        "mia-bench 'attack=[clid,loss]'"
    )
    assert command({"command": ["mia-bench", "seeds", "0"]}) == "mia-bench seeds 0"
    assert command({"command": ["pytest", "-q"]}) == "pytest -q"
    assert command({}) == "unknown"


@pytest.mark.long
def test_the_page_grows_no_faster_than_its_runs(tmp_path, write_run, scores, monkeypatch):
    monkeypatch.setattr("mia_bench.storage.provenance._git", dict)
    monkeypatch.setattr("mia_bench.report.load.MIN_RUNS_FOR_PROCESSES", 1000)
    table = scores(1.0, 0)
    metrics = score_table_metrics(table, {}, 0, 100).metrics
    sizes = []
    for batch in range(2):
        for i in range(batch * 60, (batch + 1) * 60):
            model, name = f"{i // 6:016d}", f"attack{i % 6}"
            write_run(
                tmp_path,
                name,
                model_key=model,
                table=table,
                seed=i // 6,
                metrics=metrics,
                controls={},
            )
        page = report(tmp_path, "intervals=false")
        sizes.append(len(page))
    assert sizes[1] < 2.1 * sizes[0]
    assert sizes[1] < 1_500_000
    assert "12 of 20 targets are drawn" in re.sub(r"\s+", " ", page)


def test_the_style_sheet_draws_every_dash_and_colour():
    style = page_style()
    for i, dash in enumerate(DASHES[1:], 1):
        assert f".d{i} {{ stroke-dasharray: {dash}; }}" in style
    assert f".d{len(DASHES)} " not in style
    for i in range(len(COLOURS)):
        assert f".s{i} {{ color: var(--s{i}); }}" in style
