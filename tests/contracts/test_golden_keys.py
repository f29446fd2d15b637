"""Content keys, pinned: whatever is moved or renamed, what is stored under outputs/ is found again.

Plans are made and nothing is trained. Inputs are written byte by byte from fixed generators and
named by relative paths, so that neither an encoder, nor the version of a library, nor the folder of
the test decides a key. The drawings of OpenMoji come from their package: another release of it, or
of what reads it, is other data and has other keys.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = json.loads(Path(__file__).with_name("golden_keys.json").read_text(encoding="utf-8"))
DEFAULT_MODELS = {
    "base": "ddad0b29d783a1c0",
    "target": "2ae21a1f83d29970",
    "shadow": "5c6ba132055aae54",
}
DEFAULT_FEATURES = {"clid-a5162d15b98c8921", "clid-3ae2558af7ccae9a"}
DEFAULT_RUNS = {"clid-73e38d8a534ccc0c"}
BY_NAME = (  # the attacks that attack=all leaves out
    *("clid_gaussian", "loss5", "mc15", "mc_full", "noise_agg_ii", "noise_agg_iii", "pfami_nns"),
    *("pfami_paired", "secmi_nns", "secmi100", "gsa2", "gradient_masking", "drc_cheap"),
    *("drc_face", "drc_full", "drc_tasks"),
)
BY_NAME_LATER = (  # those of them that came after the first release
    *("drc_attention", "drc_hole", "drc_spread", "drc_whole", "fremia_tuned", "gen_sim"),
    *("gen_sim_vec", "gen_sim_views", "img2img", "img2img_vec", "loss_pullback"),
    *("loss_randommask", "mc15_bias", "mofit_lite", "noise_agg_relative", "noise_agg_size"),
    *("noise_agg_tuned", "noise_probe", "pia_pullback", "pia_randommask", "rf_curve", "rf_mc"),
    *("rf_mc_cal", "secmi_pullback", "secmi_randommask", "sima_pullback", "sima_randommask"),
    "structural",
)
MITIGATIONS = ("caption_delete", "caption_dropout", "cutout", "ema", "lora", "weight_decay")
MSCOCO = (
    *("model=sd15", "data=mscoco", "attack=clid", "paths.outputs=outputs_mscoco"),
    *("data.source.root=coco", "data.source.train_rows=40", "data.sizes.target_member=20"),
    *("data.sizes.target_nonmember=25", "data.sizes.shadow_member=12"),
    *("data.sizes.shadow_nonmember=14", "data.sizes.validation=6"),
)
CASES: dict[str, tuple[str, ...]] = {
    "default": (),
    "all": ("attack=all",),
    "by_name": (f"attack=[{','.join(BY_NAME)}]", "eval.base_calibrated=true"),
    "by_name_later": (f"attack=[{','.join(BY_NAME_LATER)}]", "calibration=split"),
    "augment_early_stop": ("mitigation=[augment,early_stop]", "eval.utility=true"),
    "dp": ("mitigation=dp",),
    "mitigations": (
        f"mitigation=[{','.join(MITIGATIONS)}]",
        "calibration.shadow_mitigation=none",
    ),
    "given": (
        *("data=given", "data.source.root=given", "attack=[clid,loss]"),
        *("model.finetune=false", "calibration=split", "paths.outputs=outputs_given"),
    ),
    "sd15_mscoco": (*MSCOCO, "model.path=pipeline"),
    "options": (  # some that are in a key only when they are not at their default
        *(*MSCOCO, "model.path=pipeline_v", "model.dtype=float16", "model.vae_tiling=true"),
        *("calibration=split", "eval.dtype=bfloat16", "eval.blind_encoder=ViT-B-32/openai"),
        *("data.max_rmse=8", "seed=3", "trainer.precision=bf16-mixed", "finetune.lora_rank=2"),
        "paths.outputs=outputs_options",
    ),
}


def keys_of(*overrides: str) -> dict[str, Any]:
    """What the plan of a command line names; the one place here that knows the package."""
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.make_plan import make_plan

    plan = make_plan(compose(*overrides))
    features = [spec for run in plan.runs for spec in run.feature_specs()]
    (split_file,) = (plan.outputs / "splits").glob("*.json")

    def places(folders: Sequence[Path]) -> list[str]:
        return [folder.relative_to(plan.outputs).as_posix() for folder in folders]

    return {
        "base": plan.base.key,
        "target": plan.target.key,
        "shadow": None if plan.shadow is None else plan.shadow.key,
        "split": plan.split.content_hash,
        "split_file": split_file.name,
        "features": sorted(set(places([spec.folder for spec in features]))),
        "runs": places([folder for _, folder in plan.table]),
        "blind": None if plan.blind is None else plan.blind.name,
        "utility": places(list(plan.utility.values())),
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with miniature data sets and a model; outputs of all cases go there too."""
    folder = tmp_path_factory.mktemp("golden")
    write_inputs(folder)
    return folder


@pytest.fixture(autouse=True)
def there(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIA_BENCH_DATA", raising=False)
    monkeypatch.chdir(inputs)


@pytest.mark.first_look(2)
@pytest.mark.parametrize("case", CASES)
def test_keys_are_what_they_were(case: str) -> None:
    assert keys_of(*CASES[case]) == GOLDEN[case]


def test_every_attack_is_pinned() -> None:
    runs = {Path(run).name for case in CASES for run in GOLDEN[case]["runs"]}
    pinned = {name.rpartition("-")[0] for name in runs}
    files = {path.stem for path in (Path(__file__).parents[2] / "conf/attack").glob("*.yaml")}
    assert files - {"all"} <= pinned


def test_the_default_plan_has_the_keys_that_are_published() -> None:
    found = keys_of()
    assert {model: found[model] for model in DEFAULT_MODELS} == DEFAULT_MODELS
    assert {Path(folder).name for folder in found["features"]} == DEFAULT_FEATURES
    assert {Path(folder).name for folder in found["runs"]} == DEFAULT_RUNS


def write_inputs(folder: Path) -> None:
    write_pairs(folder / "given" / "members", 30, first=0)
    write_pairs(folder / "given" / "nonmembers", 40, first=100)
    write_coco(folder / "coco", "val2017", 50, first=200)
    write_coco(folder / "coco", "train2017", 60, first=300)
    write_pipeline(folder / "pipeline", "epsilon", 0.18215)
    write_pipeline(folder / "pipeline_v", "v_prediction", 0.13025)


def write_pairs(folder: Path, count: int, first: int) -> None:
    """Pictures in the layout of an image folder, with a caption each."""
    lines = []
    for i in range(first, first + count):
        write(folder / f"{i}.png", bitmap(i))
        lines.append(json.dumps({"file_name": f"{i}.png", "text": f"drawing {i} of some thing"}))
    write(folder / "metadata.jsonl", "\n".join(lines).encode())


def write_coco(root: Path, pool: str, count: int, first: int) -> None:
    """One pool of COCO's official layout, with two captions a picture."""
    numbers = range(first, first + count)
    for i in numbers:
        write(root / pool / f"{i:012d}.jpg", bitmap(i))
    notes = [
        {"id": 10 * i + k, "image_id": i, "caption": f"caption {k} of picture {i}, a thing"}
        for k in (1, 0)
        for i in numbers
    ]
    images = [{"id": i, "file_name": f"{i:012d}.jpg"} for i in numbers]
    about = json.dumps({"images": images, "annotations": notes})
    write(root / "annotations" / f"captions_{pool}.json", about.encode())


def write_pipeline(root: Path, prediction: str, scale: float) -> None:
    """A folder of Stable Diffusion's layout with all that a plan reads, and few weights.

    Weights are keyed as whole files, and the names of tensors are in those: they are made up here,
    because a network's own names change with diffusers and transformers. Of the configurations only
    the class, the schedule and the scale of latents are keyed, never `_diffusers_version`. A usual
    tokenizer has no part in keys.
    """
    configs: dict[str, dict[str, Any]] = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0"},
        "scheduler/scheduler_config.json": {
            "_class_name": "PNDMScheduler",
            "_diffusers_version": "0",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "prediction_type": prediction,
        },
        "vae/config.json": {
            "_class_name": "AutoencoderKL",
            "_diffusers_version": "0",
            "block_out_channels": [4, 4, 8, 8],
            "latent_channels": 4,
            "scaling_factor": scale,
        },
        "tokenizer/tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer"},
    }
    for name, config in configs.items():
        write(root / name, json.dumps(config).encode())
    draw = np.random.default_rng(0)
    write(root / "unet" / "diffusion_pytorch_model.safetensors", weights(draw))
    write(root / "vae" / "diffusion_pytorch_model.safetensors", weights(draw))
    write(root / "text_encoder" / "model.safetensors", weights(draw))


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def bitmap(seed: int) -> bytes:
    """A BMP file of 8 x 8 random blocks, four pixels wide: no two are near-duplicates."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = np.kron(blocks, np.ones((4, 4, 1), dtype=np.uint8)).tobytes()
    file = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    about = struct.pack("<IiiHHIIiiII", 40, 32, 32, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    return file + about + pixels


def weights(draw: np.random.Generator) -> bytes:
    """A safetensors file of two tensors: the length of its header, the header, the numbers."""
    tensors = {name: draw.random((4, 8), dtype=np.float32) for name in ("first", "second")}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in tensors.items():
        span = [len(data), len(data) + values.nbytes]
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": span}
        data += values.astype("<f4").tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data
