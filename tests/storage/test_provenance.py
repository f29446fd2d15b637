"""provenance.py: a manifest says what made it, and not on whose machine."""

from __future__ import annotations

import json
import platform

import pytest

from mia_bench.storage import provenance
from mia_bench.storage.command import recorded_as


def test_an_artefact_says_what_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/mia_bench", "attack=clid"])
    found = provenance.environment()
    assert found["command"] == ["mia_bench", "attack=clid"]
    with recorded_as(["mia-bench", "seeds", "0"]):
        assert provenance.environment()["command"] == ["mia-bench", "seeds", "0"]
    assert found["versions"]["torch"] != "unknown"
    assert len(found["machine"]) == 16
    assert platform.node() not in json.dumps(found)


def test_a_package_that_is_not_installed_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise provenance.metadata.PackageNotFoundError(name)

    provenance._code.cache_clear()
    monkeypatch.setattr(provenance.metadata, "version", absent)
    assert set(provenance.environment()["versions"].values()) == {"unknown"}
    provenance._code.cache_clear()
