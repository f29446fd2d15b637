"""`python -m mia_bench.status` on whole, half and broken outputs, small and large."""

from __future__ import annotations

import pytest

from mia_bench.display.status_tables import disk_lines
from mia_bench.execution.run import failure_of
from mia_bench.report.__main__ import main as report
from mia_bench.status import main
from mia_bench.storage import layout
from mia_bench.storage.artifacts import seal
from mia_bench.storage.failures import record_failure
from mia_bench.storage.files import write_json
from mia_bench.utils.errors import MiaError


@pytest.fixture
def outputs(store_cell, tmp_path):
    store_cell(tmp_path)
    store_cell(tmp_path, attack="loss")
    return tmp_path


def test_everything_is_shown(outputs, capsys):
    record_failure(
        outputs, failure_of(MiaError("[b]too few\nrows"), ["runs/x"], ["attack=pia", "seed=1"])
    )
    main([f"paths.outputs={outputs}"])
    said = capsys.readouterr().out
    assert "target   300     10.0     cpu" in said
    assert "tiny openmoji none seed 0" in said
    assert "clid" in said
    assert "too few" in said
    assert "rows" not in said.partition("failed ")[2].partition("disk")[0]
    assert "mia-bench attack=pia seed=1" in said
    assert "disk: " in said


def test_failures_that_are_not_listed_are_counted_and_commands_can_be_typed(tmp_path, capsys):
    words = ["attack=[a,b]", "paths.outputs=my runs"]
    for i in range(203):
        record_failure(tmp_path, failure_of(MiaError("no"), [f"runs/{i}"], words))
    main([f"paths.outputs={tmp_path}"])
    said = capsys.readouterr().out
    assert said.count("  mia-bench 'attack=[a,b]' 'paths.outputs=my runs'\n") == 200
    assert "... and 3 more, 203 in all" in said


def test_all_that_takes_space_is_said_in_groups_and_what_may_be_deleted(tmp_path):
    assert list(disk_lines(tmp_path)) == ["disk: nothing yet"]
    assert list(disk_lines(tmp_path / "nowhere")) == ["disk: nothing yet"]
    places = ("runs/m/1/loss-0", "audits/a", "controls/c", "splits", "captions/k", "targets/t")
    for place in (*places, "failures", "cache/latents/e", "mine"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "x").write_bytes(b"1" * 2000)
    assert list(disk_lines(tmp_path)) == [
        "disk: 18 kB",
        "  results         runs 2 kB, audits 2 kB, controls 2 kB, splits 2 kB",
        "  costly          targets 2 kB, captions 2 kB: the same commands make them again, in the "
        "same time",
        "  pages and logs  failures 2 kB",
        "  cache           cache 2 kB, may be deleted: what is needed of it is made again",
        "  others          mine 2 kB",
    ]


def test_every_folder_of_outputs_is_in_a_group():
    """A new one would otherwise stand among what is not ours."""
    named = {value for name, value in vars(layout).items() if name.endswith("_FOLDER")}
    inside = {"steps", "evidence", "latents", "mirrored", "shards", "dashboard", "cache"}
    grouped = {*layout.RESULTS, *layout.COSTLY, *layout.PAGES_AND_LOGS}
    assert named - inside == grouped


@pytest.fixture
def audit(tmp_path):
    """audit(key, **changes): a sealed audit of two pictures and three, and its page."""

    def write(key="1" * 16, page="audit", **changes):
        folder = tmp_path / "audits" / f"owner-{key}"
        folder.mkdir(parents=True)
        stored = {
            "model_name": "my/[bold]model",
            "sets": {"pictures": [2, 3], "names": ["members", "non-members"]},
            "verdict": {"answer": "no evidence"},
            "findings": {"p_value": 0.25},
        }
        write_json(folder / "audit.json", {**stored, **changes})
        seal(folder, {"audit": "owner"})
        of_page = tmp_path / "reports" / page
        of_page.mkdir(parents=True, exist_ok=True)
        (of_page / "index.html").touch()
        (of_page / "exposure.csv").touch()
        return folder

    return write


def test_audits_are_listed_with_their_answer_and_where_it_is_seen(audit, tmp_path, capsys):
    audit()
    (tmp_path / "reports" / "of_runs").mkdir()
    (tmp_path / "reports" / "of_runs" / "index.html").touch()
    main([f"paths.outputs={tmp_path}"])
    said = capsys.readouterr().out
    assert (
        "owner-1111111111111111   my/[bold]model   2 members, 3 non-members   no evidence" in said
    )
    page = tmp_path / "reports" / "audit" / "index.html"
    assert f"1 audit in {tmp_path / 'audits'}: open {page}; `mia-bench verify` checks them." in said
    assert "audits " in said.partition("disk: ")[2]


def test_an_audit_that_was_changed_or_is_of_another_version_is_named(audit, tmp_path, capsys):
    (audit("2" * 16) / "audit.json").write_text('{"verdict": {"answer": "yes"}}')
    audit("3" * 16, verdict=None)
    main([f"paths.outputs={tmp_path}"])
    said = capsys.readouterr().out
    assert "note: owner-2222222222222222: unverified: " in said
    assert "note: owner-3333333333333333: audit.json is of another version" in said
    assert " yes " not in said


def test_without_audits_nothing_is_said_of_them(outputs, capsys):
    main([f"paths.outputs={outputs}"])
    assert "audit" not in capsys.readouterr().out


@pytest.mark.long
def test_a_report_says_where_audits_are_seen(audit, write_run, tmp_path, capsys):
    audit()
    write_run(tmp_path, "clid")
    report([f"paths.outputs={tmp_path}"])
    assert "not on this page: 1 audit in " in capsys.readouterr().out


def test_a_report_over_audits_alone_says_where_they_are_seen(audit, tmp_path, capsys):
    audit()
    with pytest.raises(SystemExit):
        report([f"paths.outputs={tmp_path}"])
    said = capsys.readouterr().err
    assert "no finished run" in said
    assert f"1 audit in {tmp_path / 'audits'}: open " in said
