"""Pictures known to have been used: read as the sets are, and kept apart from them."""

from __future__ import annotations

import shutil
from dataclasses import asdict

import numpy as np
import pytest
from album import make_album

from mia_bench.audit.program import prepare_audit, run_audit
from mia_bench.audit.record import audit_folder, check_audit
from mia_bench.audit.result import preface
from mia_bench.audit.share.known_pictures import read_known
from mia_bench.metrics.inference.panel_combination import combined_score
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError


@pytest.fixture(scope="module")
def known_folder(tmp_path_factory):
    """Six pictures that are in neither set."""
    return make_album(tmp_path_factory.mktemp("known"), 6, first=900)


@pytest.fixture(scope="module")
def data_audit(ask_owner, known_folder):
    return run_audit(ask_owner(kind="data", known=known_folder, name="known"))


def test_known_pictures_change_no_test(data_audit, ask_owner):
    without = run_audit(ask_owner(kind="data"))
    with_known, plain = asdict(data_audit.findings), asdict(without.findings)
    del with_known["used"], plain["used"]
    assert with_known == plain
    assert data_audit.verdict == without.verdict
    assert audit_folder(data_audit.prepared, None) != audit_folder(without.prepared, None)


def test_each_is_scored_as_if_added_to_the_table_alone(data_audit):
    scores = data_audit.scores
    for row in scores.known.to_dict("records"):
        added = [[*scores.table[name], row[name]] for name in scores.attacks]
        assert row["combined"] == pytest.approx(combined_score(added)[-1])
    assert len(scores.known) == 6
    assert np.isfinite(scores.known_scores).all()


@pytest.mark.long
def test_the_record_holds_them_and_follows_from_them(data_audit):
    folder = audit_folder(data_audit.prepared, None)
    assert (folder / "known.parquet").is_file()
    assert read_json(folder / "audit.json")["known_pictures"]["pictures"] == 6
    checks = list(check_audit(folder))
    assert all(agrees for _, agrees, _ in checks), checks


def test_they_are_announced_with_their_cost(ask_owner, known_folder, tmp_path):
    prepared = prepare_audit(ask_owner(kind="data", known=known_folder, outputs=tmp_path))
    assert any("Known to have been used: 6 pictures" in line for line in preface(prepared))
    assert prepared.run.evaluations == 2 * (20 + 6)


def test_pictures_of_the_sets_are_left_out_by_name(audited, two_sets, known_folder, tmp_path):
    folder = tmp_path / "known"
    shutil.copytree(known_folder, folder)
    shutil.copy(two_sets[0] / "p001.png", folder / "mine.png")
    shutil.copy(two_sets[1] / "p501.png", folder / "unseen.png")
    shutil.copy(folder / "p902.png", folder / "again.png")
    (folder / "broken.png").write_bytes(b"nothing")
    known = read_known(folder, audited.prepared.sets, "none", "")
    assert set(known.left_out) == {"mine.png", "unseen.png"}
    assert [skip.name for skip in known.unreadable] == ["broken.png"]
    assert len(known.items) == 6


def test_what_cannot_be_used_is_a_sentence(audited, two_sets, tmp_path):
    sets = audited.prepared.sets
    with pytest.raises(MiaError, match="each is in a set as well"):
        read_known(two_sets[0], sets, "none", "")
    with pytest.raises(MiaError, match="none can be read"):
        read_known(tmp_path, sets, "none", "")
    with pytest.raises(MiaError, match="is not a folder"):
        read_known(tmp_path / "nowhere", sets, "none", "")
    bare = make_album(tmp_path / "bare", 3, first=900)
    (bare / "metadata.jsonl").unlink()
    with pytest.raises(MiaError, match="3 of 3 pictures have no caption"):
        read_known(bare, sets, "own", "")
