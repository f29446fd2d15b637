"""The chunk: found once per context, remembered, bounded by memory and patience."""

from __future__ import annotations

import json

import pytest
import torch

from mia_bench.target import chunk_tuning
from mia_bench.target.chunk_tuning import chunk_context, fastest, remember, remembered, tuned_chunk


def test_the_smallest_that_larger_ones_do_not_beat():
    assert fastest(lambda rows: 0.1 + 0.01 * rows) == 256  # a call has a fixed cost
    assert fastest(lambda rows: 1.0 * rows) == 1  # it has none
    assert fastest(lambda rows: max(1.0, rows / 16)) == 16
    idle_once = {1: 1.0, 2: 2.0}
    assert fastest(lambda rows: idle_once.get(rows, rows / 3)) == 4


def test_memory_and_patience_end_the_search():
    tried = []

    def crowded(rows: int) -> float:
        tried.append(rows)
        if rows > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    assert fastest(crowded) == 8
    assert tried == [1, 2, 4, 8, 16]
    assert fastest(lambda rows: 5.0 + rows) == 4
    with pytest.raises(RuntimeError, match="shapes"):
        fastest(lambda _: (_ for _ in ()).throw(RuntimeError("shapes do not match")))


def test_what_was_found_is_remembered(random_target, tmp_path, monkeypatch):
    target, tried = random_target(), []
    monkeypatch.setattr(
        chunk_tuning, "_seconds", lambda _, rows: tried.append(rows) or max(8, rows) / 8
    )
    assert tuned_chunk(target, tmp_path) == 8
    assert tried == [1, 2, 4, 8, 16, 32]
    assert tuned_chunk(random_target(), tmp_path) == 8
    assert len(tried) == 6
    half = random_target(dtype=torch.bfloat16)
    assert chunk_context(half) != chunk_context(target)
    tuned_chunk(half, tmp_path)
    assert len(tried) == 12
    remember(tmp_path, chunk_context(half), 3)
    assert tuned_chunk(half, tmp_path) == 3
    assert tuned_chunk(target, tmp_path) == 8


@pytest.mark.parametrize("junk", ["", "[1]", '{"a": "b"}'])
def test_a_file_that_cannot_be_used_is_no_error(junk, tmp_path):
    (tmp_path / chunk_tuning.CHUNKS_FILE).write_text(junk)
    assert remembered(tmp_path) == {}
    remember(tmp_path, "key", 4)
    assert json.loads((tmp_path / chunk_tuning.CHUNKS_FILE).read_text()) == {"key": 4}


def test_a_real_network_is_timed_without_counting_queries(random_target):
    target = random_target()
    assert chunk_tuning._seconds(target, 2) > 0
    assert target.queries["forward"] == target.queries["asked"] == 0


def test_what_a_first_call_compiles_is_not_what_a_call_takes(random_target, monkeypatch):
    target, now, calls = random_target(), [0.0], []

    def predictor(z, *_):
        now[0] += 0.5 if calls else 60.0
        calls.append(len(z))
        return z

    monkeypatch.setattr(target, "predictor", predictor)
    monkeypatch.setattr(chunk_tuning.time, "perf_counter", lambda: now[0])
    assert chunk_tuning._seconds(target, 2) == 0.5
    assert calls == [2, 2, 2]


def test_compiled_networks_have_a_chunk_of_their_own(random_target, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda unet, **_: unet)
    target = random_target()
    plain = chunk_context(target)
    target.compile_unet("default")
    assert chunk_context(target) != plain


def test_a_chunk_that_cannot_be_kept_stops_nothing(tmp_path, capsys):
    (tmp_path / "cache").write_text("in the way")
    remember(tmp_path / "cache", "key", 4)
    assert "the fastest chunk is not kept: cannot write" in capsys.readouterr().err
