"""Speed of a network: what is counted is what is called."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mia_bench.bench.gpu import networks, speed
from mia_bench.bench.gpu.speed import SpeedSetting

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def workload():
    return networks.workload(networks.SPECS["sd3"]["small"], 2, CPU)


@pytest.fixture
def setting() -> SpeedSetting:
    return SpeedSetting(CPU, "small", 1, Path("unused"))


def test_a_loop_makes_every_evaluation_and_no_more(workload, monkeypatch):
    rows = []
    call = workload.target.predictor.call

    def counting(network, z_t, *rest):
        rows.append(len(z_t))
        return call(network, z_t, *rest)

    monkeypatch.setattr(workload.target.predictor, "call", counting)
    speed.bare_loop(workload, 11, 4)()
    assert rows == [4, 4, 3]


def test_figures_fit_together(workload, setting):
    figures = speed.speed(workload, setting)
    assert {name.partition(".")[0] for name in figures if "." in name} == set(setting.dtypes)
    for dtype in setting.dtypes:
        rate = figures["gflop"] / figures[f"{dtype}.milliseconds"]  # TFLOP/s
        assert figures[f"{dtype}.tflops"] == pytest.approx(rate)
        share = rate / figures[f"{dtype}.product_tflops"]
        assert figures[f"{dtype}.share_of_product"] == pytest.approx(share)


def test_flop_are_those_of_one_row(workload):
    one = speed.flop_of_evaluation(workload)
    from torch.utils.flop_counter import FlopCounterMode

    with (counter := FlopCounterMode(display=False)):
        speed.bare_loop(workload, 5, 5)()
    assert counter.get_total_flops() == pytest.approx(5 * one)


def test_a_dtype_is_the_networks_inside_and_float32_again(workload):
    for dtype in ("bfloat16", "float32"):
        with speed.computing_in(dtype, workload.target):
            assert next(workload.target.unet.parameters()).dtype == getattr(torch, dtype)
