"""`python -m mia_bench.audit`: every word leads somewhere, and a wrong one says the nearest."""

from __future__ import annotations

import pytest
from album import make_album

from mia_bench.audit.__main__ import run
from mia_bench.utils.errors import MiaError


def test_variants_are_made(tmp_path, capsys):
    originals = make_album(tmp_path / "originals", 2)
    run(["make-variants", f"mine={originals}", f"out={tmp_path / 'out'}", "count=3"])
    said = capsys.readouterr().out
    assert "publish these" in said
    assert "seal: " in said
    assert len(list((tmp_path / "out" / "variants").rglob("*.png"))) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ownr"], "Did you mean 'owner'"),
        ([], "WHAT is needed"),
        (["make-variants", "mine=a"], "needs out="),
        (["plan", "model=tiny"], "members= and nonmembers="),
    ],
)
def test_wrong_words(words, message):
    with pytest.raises(MiaError, match=message):
        run(words)
