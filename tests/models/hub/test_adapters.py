"""Files of LoRAs from the hub."""

from __future__ import annotations

import pytest
from huggingface_hub import constants

from mia_bench.models import hub
from mia_bench.models.hub import adapters
from mia_bench.utils.errors import MiaError, Missing


def test_adapters_from_the_hub(serve, tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "style.safetensors").write_bytes(b"adapters")
    serve({"someone/lora": tmp_path / "lora"})
    hub.fetch_lora("someone/lora/style.safetensors")
    assert hub.locate_lora("someone/lora/style.safetensors").read_bytes() == b"adapters"
    with pytest.raises(MiaError, match="neither a file, a folder nor a hub id"):
        hub.fetch_lora("/nowhere/adapters")


def test_offline_is_honoured(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(adapters, "download", None)
    with pytest.raises(Missing, match="HF_HUB_OFFLINE is set"):
        hub.fetch_lora("someone/lora")
