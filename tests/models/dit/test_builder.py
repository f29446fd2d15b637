"""Identity of a transformer directory, its adapters, and the whole pipeline through it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pandas as pd
import pytest
import torch
from dit_pipelines import FAMILIES, SIDE
from safetensors.torch import save_file

from mia_bench.execution.run import execute
from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.models.lora.training import add_lora, save_lora
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError

Folder = Callable[[str], Path]


def model_of(path: Path, family: str = "sd3", **options: Any) -> DiffusionTransformer:
    guidance = 1.0 if family == "flux_dev" else None
    return DiffusionTransformer(
        str(path), SIDE.get(family, 16), **{"chunk": 8, "guidance": guidance, **options}
    )


@pytest.fixture
def copied(saved_dit: Folder, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a family's folder that may be written to."""
    return lambda family: Path(shutil.copytree(saved_dit(family), tmp_path / "copy" / family))


def edit(path: Path, **options: Any) -> None:
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (config | options).items() if v != "drop"}))


def test_the_key_follows_everything_that_decides_an_answer(
    saved_dit: Folder, copied: Callable[[str], Path]
) -> None:
    own, path = model_of(saved_dit("sd3")), copied("sd3")
    moved = model_of(path)
    assert moved.base_hash() == own.base_hash()
    assert moved.encoder_hash() == own.encoder_hash()
    for change in ({"sigma_floor": 0.05}, {"tokens": 16}, {"dtype": "bfloat16"}):
        assert replace(own, **change).base_hash() != own.base_hash()
    for free in ({"chunk": "auto"}, {"dtype": "float32"}, {"offload_text": True}):
        assert replace(own, **free).base_hash() == own.base_hash()
    edit(path / "vae" / "config.json", shift_factor=0.2)
    assert moved.encoder_hash() != own.encoder_hash()
    edit(path / "transformer" / "config.json", qk_norm=None)
    hashes = {own.base_hash(), moved.base_hash()}
    (path / "tokenizer_3" / "added.txt").write_text("word")
    hashes.add(moved.base_hash())
    assert len(hashes) == 3


@pytest.mark.long
@pytest.mark.first_look
@pytest.mark.parametrize("family", ["sd3", "z_image", "sana"])
def test_text_comes_back_to_the_cpu(family: str, saved_dit: Folder) -> None:
    own, offloaded = (model_of(saved_dit(family), family, offload_text=f) for f in (False, True))
    targets = [m.build(m.load_unet(), seed=0) for m in (own, offloaded)]
    conditions = [t.embed(["two dogs", ""]) for t in targets]
    assert torch.equal(conditions[0].hidden, conditions[1].hidden)
    assert len(list(targets[1].text.encoders)) == 0  # type: ignore[arg-type]
    assert not torch.equal(conditions[0].hidden[0], conditions[0].hidden[1])


@pytest.mark.first_look
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_adapters_are_those_that_diffusers_reads(
    family: str, saved_dit: Folder, tmp_path: Path
) -> None:
    """Saved here, read by diffusers' pipeline where it reads LoRAs, and by `model.lora`."""
    model = model_of(saved_dit(family), family)
    network = model.load_unet(train=True)
    targets = ("to_q", "to_k", "to_v", "to_out.0")
    add_lora(network, 2, targets)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)
    save_lora(network, tmp_path)
    fused = model.load_unet(tmp_path)
    by_option = replace(model, lora=str(tmp_path))
    assert by_option.base_hash() != model.base_hash()
    base = dict(model.load_unet().named_parameters())
    changed = 0
    for (name, one), two in zip(
        fused.named_parameters(), by_option.load_unet().parameters(), strict=True
    ):
        assert torch.allclose(one, two)
        changed += not torch.equal(one, base[name])
    assert changed >= 4
    pipe = diffusers.DiffusionPipeline.from_pretrained(saved_dit(family))
    if not hasattr(pipe, "load_lora_weights"):
        return
    pipe.load_lora_weights(tmp_path)
    pipe.fuse_lora()
    theirs = {
        name.replace(".base_layer", ""): value
        for name, value in pipe.transformer.named_parameters()
        if "lora_" not in name
    }
    for name, value in fused.named_parameters():
        assert torch.allclose(value, theirs[name], atol=1e-5), name


def test_a_lora_of_another_family_is_refused(saved_dit: Folder, tmp_path: Path) -> None:
    network = model_of(saved_dit("z_image"), "z_image").load_unet(train=True)
    add_lora(network, 2)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    save_lora(network, tmp_path)
    with pytest.raises(MiaError, match=r"is a LoRA of another transformer: \d+ of its \d+ layers"):
        model_of(saved_dit("sd3"), lora=str(tmp_path)).load_unet()
    with pytest.raises(MiaError, match=r"another transformer: .* Name the model that it was"):
        model_of(saved_dit("sd3"), lora=str(tmp_path)).check()
    model_of(saved_dit("z_image"), lora=str(tmp_path)).check()
    unet_keys = {"unet.mid.to_q.lora_A.weight": torch.ones(1, 4)}
    unet_keys["unet.mid.to_q.lora_B.weight"] = torch.ones(4, 1)
    save_file(unet_keys, tmp_path / "pytorch_lora_weights.safetensors")
    with pytest.raises(MiaError, match="holds adapters of a unet"):
        model_of(saved_dit("sd3"), lora=str(tmp_path)).load_unet()


@pytest.mark.long
def test_the_whole_pipeline_on_a_rectified_flow(
    saved_dit: Folder, tmp_path: Path, experiment: Any, small_overrides: tuple[str, ...]
) -> None:
    """Fine-tuned by adapters with SD3's loss, attacked and scored; levels in the manifest."""
    run = experiment(
        *small_overrides,
        "model=sd3",
        f"model.path={saved_dit('sd3')}",
        "model.resolution=16",
        "model.chunk=16",
        "finetune.epochs=null",
        "finetune.gradient_checkpointing=false",
        "mitigation=timesteps",
        "attack=[loss,rf_mc]",
        "+attack.loss.sigma=0.35",
        f"paths.outputs={tmp_path}",
    )
    execute(run)
    (scores,) = tmp_path.glob("runs/*/*/loss-*/scores.parquet")
    assert len(pd.read_parquet(scores)) > 30
    manifests = [read_json(path) for path in tmp_path.glob("features/*/*/loss-*/manifest.json")]
    assert manifests
    for manifest in manifests:
        ((t, sigma),) = manifest["levels"].items()
        assert abs(sigma - 0.35) < 1e-3
        assert abs(int(t) - 186) <= 1
    steps = [path for path in tmp_path.glob("targets/*/steps/*/*") if "lora" in path.name]
    assert steps
