"""A whole run on the corpus of bad input: what is left is trained on, asked and reported."""

from __future__ import annotations

import json

import pytest
from album import make_album
from corpus import bad_folder

from mia_bench.execution.single_run import run_single
from mia_bench.storage.files import read_json
from mia_bench.target import encoding
from mia_bench.utils.text import printable


@pytest.fixture(scope="module")
def corpus_run(small, tmp_path_factory):
    """corpus_run(*overrides): a run on the corpus, in one outputs folder."""
    folder = tmp_path_factory.mktemp("bad")
    expected = bad_folder(folder / "corpus", folder / "beside")
    make_album(folder / "corpus/good ones", 40)
    where = ("data=imagefolder", f"data.source.root={folder / 'corpus'}", "data.max_rmse=null")

    def run(*overrides: str):
        return run_single(small(*where, *overrides, outputs=folder / "out")).results

    run.expected, run.outputs = expected, folder / "out"
    return run


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures were encoded at a time; they still are."""
    counts: list[int] = []
    encode = encoding.encode

    def counting(target, image):
        counts.append(len(image))
        return encode(target, image)

    monkeypatch.setattr(encoding, "encode", counting)
    return counts


@pytest.mark.long
def test_a_run_says_what_remained_and_a_second_attack_encodes_nothing(
    corpus_run, encoded, capsys
) -> None:
    """The second asks without captions."""
    corpus_run("attack=loss")
    said = capsys.readouterr().out
    bad = {name: reason for name, reason in corpus_run.expected.items() if reason}
    usable = len(corpus_run.expected) - len(bad) + 40
    [path] = corpus_run.outputs.glob("splits/*.json")
    split = json.loads(path.read_text())
    skipped = {skip["name"]: skip for skip in split["skipped"]}
    assert len(split["rows"]) + split["unused"] + split["duplicates"] == usable
    assert set(skipped) == set(map(printable, bad))
    assert all(bad[name] in skipped[printable(name)]["reason"] for name in bad)
    assert f"{usable - split['duplicates']:,} of" in said
    assert not any(ord(c) < 32 and c not in "\n\r" for c in said)
    scored = read_json(next(corpus_run.outputs.glob("runs/*/*/loss-*/metrics.json")))
    assert (scored["n_members"], scored["n_nonmembers"]) == (12, 24)
    assert "pairs can be used; skipped: " in said
    assert "the file is missing (bad input)" in said
    # 64 rows, each once, for target, shadow and base
    assert sum(encoded) == 64
    encoded.clear()

    results = {n: metrics for n, metrics, _ in corpus_run("attack=mc", "data.captions=null")}
    assert encoded == []
    assert results["mc"]["nfe_forward"] == 3
    assert results["mc"]["controls"]["blind_caption"]["auroc"] == 0.5
    assert "the attacks' captions: null" in capsys.readouterr().out
