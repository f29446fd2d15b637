"""`python -m mia_bench.pretrain`: a corpus, then both stages and the export, where asked for."""

from __future__ import annotations

import sys

import pytest
import torch

from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.pretrain import __main__ as command


def run(monkeypatch, made, *words):
    monkeypatch.setattr("mia_bench.pretrain.corpus.load_corpus", lambda *_: made)
    threads = str(torch.get_num_threads())
    monkeypatch.setattr(sys, "argv", ["pretrain", "--threads", threads, *words])
    command.main()


@pytest.mark.long
def test_all_stages_end_in_a_bundle(made, tmp_path, monkeypatch, capsys):
    words = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "bundle")]
    run(monkeypatch, made, *words, "--autoencoder-steps", "1", "--denoiser-steps", "1")
    assert "40 pairs, 4 held out" in capsys.readouterr().out
    assert StableDiffusion(str(tmp_path / "bundle"), resolution=16).base_hash()


def test_no_denoiser_steps_mean_no_bundle(made, tmp_path, monkeypatch):
    words = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "bundle")]
    run(monkeypatch, made, *words, "--autoencoder-steps", "1", "--denoiser-steps", "0")
    assert (tmp_path / "work" / "autoencoder.pt").is_file()
    assert not (tmp_path / "bundle").exists()
