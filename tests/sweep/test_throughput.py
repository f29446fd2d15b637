"""Rates are means of what this machine measured on the same base model."""

from __future__ import annotations

import json

import pytest

from mia_bench.sweep.throughput import measured


def manifest(folder, **about):
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"machine": "here", **about}))


def cost(rows, seconds, nfe=15):
    return {"rows": rows, "seconds": seconds, "nfe_forward": nfe}


def test_rates_of_this_machine_by_base(tmp_path):
    targets, features = tmp_path / "targets", tmp_path / "features"
    manifest(targets / "t", base="b", batch_size=32, seconds_per_step=0.2)
    manifest(targets / "s", base="b", batch_size=32, seconds_per_step=0.4)
    manifest(targets / "u", base="b", batch_size=32, seconds_per_step=9, machine="elsewhere")
    manifest(targets / "r", base="b", batch_size=32, seconds_per_step=None)  # resumed
    manifest(features / "t" / "300" / "clid-1", cost=cost(100, 20))
    manifest(features / "b" / "base" / "clid-2", cost=cost(300, 20))
    manifest(features / "t" / "300" / "gsa-1", cost=cost(100, 50, nfe=10))
    manifest(features / "q" / "300" / "clid-1", cost=cost(1, 999))
    rates = measured(tmp_path, "here")
    assert rates.training("b", 32, 100) == pytest.approx(30)
    assert rates.training("b", 16, 100) is None
    assert rates.extraction("b", "clid", 10, 15) == pytest.approx(1.0)
    # an attack nobody measured: by U-Net evaluations, 90 s for 400 x 15 + 100 x 10 of them
    assert rates.extraction("b", "new", 70, 10) == pytest.approx(9.0)
    assert rates.extraction("c", "clid", 10, 15) is None


def test_manifests_of_another_version_give_no_rate(tmp_path):
    folder = tmp_path / "targets" / "t"
    manifest(folder, base="b", batch_size="32", seconds_per_step="fast")
    manifest(tmp_path / "features" / "t" / "1" / "clid-1", cost=None)
    (tmp_path / "targets" / "h").mkdir()
    (tmp_path / "targets" / "h" / "manifest.json").write_text("{")
    assert measured(tmp_path, "here").step == {}
    assert measured(tmp_path / "nowhere").image == {}
