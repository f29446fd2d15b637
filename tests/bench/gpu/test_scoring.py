"""Attacks on the benchmark's networks: counts are the attacks' own, the codec's time is its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from mia_bench.bench import workloads
from mia_bench.bench.gpu import networks, scoring
from mia_bench.bench.gpu.speed import SpeedSetting
from mia_bench.target import Target

CPU = torch.device("cpu")
SETTING = SpeedSetting(CPU, "small", 1, Path("unused"))


def test_the_codecs_seconds_are_added_up():
    class Slow:
        def encode(self, image):
            time.sleep(0.05)
            return image + 1

        decode = encode

    codec = scoring.TimedCodec(Slow(), CPU)
    assert codec.encode(torch.zeros(1)).item() == 1
    codec.decode(torch.zeros(1))
    assert 0.1 <= codec.seconds < 1


@pytest.mark.parametrize("name", ["sd3"])
def test_a_pass_counts_the_evaluations_of_its_attacks(name, monkeypatch):
    few = [workloads.attack(n) for n in ("loss", "clid", "clid_vec", "rediffuse", "gsa")]
    monkeypatch.setattr(workloads, "all_attacks", lambda: few)
    workload = networks.workload(networks.SPECS[name]["small"], 1, CPU)
    codec = workload.target.latents
    figures = scoring.all_attacks(workload, SETTING, "float32")
    # CLiD's 15 under caption, thirds and null; loss; ReDiffuse's 20; GSA's 10, as its module says
    assert figures["float32.evaluations_an_image"] == sum((15, 1, 20, 10)) - shared(few)
    assert figures["float32.gradients_an_image"] == 1
    assert 0 < figures["float32.codec_share"] < 1
    assert workload.target.latents is codec


def shared(attacks: list) -> int:
    """Equal queries of several attacks, counted on another target: the sum less the union."""
    asked, made = 0, workload_of_attacks(attacks)
    for attack in {type(a): a for a in attacks}.values():
        asked += workload_of_attacks([attack])
    return asked - made


def workload_of_attacks(attacks: list) -> int:
    workload = networks.workload(networks.SPECS["sd3"]["small"], 1, CPU)
    target: Target = workload.target
    target.chunk = 8
    for attack in attacks:
        attack.features(target, workload.batch)
    return int(target.queries["forward"])


def test_overheads_are_ratios_of_equal_work(monkeypatch):
    monkeypatch.setattr(scoring, "ON_LATENTS", ("loss", "pia"))
    workload = networks.workload(networks.SPECS["sd3"]["small"], 1, CPU)
    figures = scoring.overheads(workload, SETTING, "bfloat16")
    assert figures.keys() == {"bfloat16.loss", "bfloat16.pia"}
    assert all(0.2 < ratio.value < 50 for ratio in figures.values())
    assert workload.target.queries["encode"] == 1  # from then on cached
