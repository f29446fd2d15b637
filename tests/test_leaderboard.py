"""The command `leaderboard`."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.leaderboard import run
from mia_bench.utils.errors import MiaError

CARD = "attack: mine\ntarget: sd15\ndata: mscoco\nsplit: https://example.org/split.json\n"


def test_scores_join_and_the_page_is_made(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "in.npy", rng.normal(1, 1, 80))
    np.save(tmp_path / "out.npy", rng.normal(0, 1, 90))
    (tmp_path / "card.yaml").write_text(CARD)
    words = [str(tmp_path / name) for name in ("in.npy", "out.npy", "card.yaml")]
    page = run(["add", *words, f"folder={tmp_path / 'board'}"])
    assert "mine on sd15: AUC 0." in capsys.readouterr().out
    assert "80 + 90" in page.read_text()
    assert run(["page", f"folder={tmp_path / 'board'}"]).read_text().count("mine") >= 1


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["ad"], "Did you mean 'add'"),
        (["add", "scores.csv"], "files are missing"),
        (["page", "x"], "page takes no files"),
        (["add", "a.csv", "card.yaml"], "card.yaml is not a file"),
    ],
)
def test_what_is_asked_wrongly_is_said(words, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MiaError, match=what):
        run(words)
