"""Fixtures every test may use: a tiny random network, and a target whose memory is known.

Everything runs on one thread, so a test takes what it takes whatever else the machine does.
"""

from __future__ import annotations

import copy
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis  # noqa: F401  before the freeze, which hides objects from its start-up check
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hypothesis import settings
from omegaconf import OmegaConf
from torch import Tensor, nn

from mia_bench.attacks import Access, Attack, Calibration
from mia_bench.config.compose import conf_dir, register_schema
from mia_bench.metrics import Thresholds, auroc, roc_curve
from mia_bench.metrics.summary import evaluate
from mia_bench.models.memorizer import memorizer, scaled_linear
from mia_bench.planning.experiment import Experiment, to_experiment
from mia_bench.storage.artifacts import seal
from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.target import Batch, Target
from mia_bench.target.diffusion import keyed_noise
from mia_bench.training.checkpoints import write_history

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
pytest_plugins = [
    *("album_fixtures", "browser_fixtures", "pipeline_fixtures"),
    *("report_fixtures", "typed_fixtures"),
    "verify_fixtures",
]
torch.set_num_threads(1)
# A machine shared with others makes single examples slow; the suite's own time is what counts.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
# Runs collect garbage between their parts; what is imported by now need not be looked at each time.
gc.freeze()
MODULES_WORTH_A_FREEZE = 100  # that were imported since the last one
_frozen = {"modules": 0}

IMAGE = 16  # pixels per side; latents are half of it
TOKENS, WIDTH = 6, 16
FIRST = ("ba", "de", "fi", "go", "ka", "lu", "mi", "no", "re", "su", "to", "ve")
LAST = ("bor", "dan", "fex", "gim", "lut", "mep", "nis", "par", "rov", "sel", "tun", "zak")
WORDS = tuple(x + y for x in FIRST for y in LAST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; tests of a file, and other files, keep their order."""
    from longest_files import LONGEST_FIRST

    root = Path(__file__).parent
    place = {root / name: i for i, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish() -> None:
    """Thousands of tests are there now, and stay."""
    gc.freeze()
    _frozen["modules"] = len(sys.modules)


def pytest_runtest_logfinish() -> None:
    """Libraries that a test was the first to import stay as well."""
    if len(sys.modules) - _frozen["modules"] >= MODULES_WORTH_A_FREEZE:
        gc.collect()
        gc.freeze()
        _frozen["modules"] = len(sys.modules)


class Memorized(NamedTuple):
    """A target, images it memorised, and two draws of images it never saw."""

    target: Target
    member: Batch
    unseen: Batch
    unseen2: Batch


class Verdict(NamedTuple):
    """AUROC of an attack on a memorizer, and its interval where there is nothing to find."""

    auroc: float
    nothing: dict[str, Any]

    @property
    def fooled(self) -> bool:
        """The interval of unseen against unseen images misses 0.5."""
        return not self.nothing["lo"] <= 0.5 <= self.nothing["hi"]


class Exam(NamedTuple):
    """Measured rows: calibration rows, and as many members, unseen and other unseen images."""

    known: Calibration
    rows: dict[str, Any]
    each: int

    def verdict(self, scores: Any) -> Verdict:
        truth = np.repeat([True, False], self.each)
        group = [str(i) for i in range(len(truth))]
        no_threshold = Thresholds(0.0, None, 0, "not asked")
        nothing = evaluate(scores[self.each :], truth, group, no_threshold, 0, 500)
        return Verdict(auroc(scores[: 2 * self.each], truth), nothing["auroc"])


class MixedCodec(nn.Module):
    """(B, 3, 16, 16) images to (B, 4, 8, 8) latents: pixel averages under a fixed 3 -> 4 map."""

    def __init__(self) -> None:
        super().__init__()
        mix = keyed_noise(0, "codec", None, 0, (4, 3))
        self.register_buffer("mix", mix, persistent=False)
        self.register_buffer("unmix", torch.linalg.pinv(mix), persistent=False)

    def encode(self, image: Tensor) -> Tensor:
        return torch.einsum("lc,bchw->blhw", self.mix, F.avg_pool2d(image, 2))

    def decode(self, z0: Tensor) -> Tensor:
        return self.decode_with_gradients(z0)

    def decode_with_gradients(self, z0: Tensor) -> Tensor:
        pixels = torch.einsum("cl,blhw->bchw", self.unmix, z0)
        return F.interpolate(pixels, scale_factor=2.0, mode="nearest")


class HashedTokens(nn.Module):
    """Captions to (B, 6, 16): one random vector per word in its place, and one for padding."""

    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.stack([self._tokens(text.split()) for text in captions]), {}

    def _tokens(self, words: list[str]) -> Tensor:
        padded = [*words, *[""] * TOKENS][:TOKENS]
        rows = [keyed_noise(0, f"word:{word}", i, 0, (WIDTH,)) for i, word in enumerate(padded)]
        return torch.stack(rows)


def draw_pictures(n: int, seed: int, size: int = IMAGE) -> Tensor:
    """(n, 3, size, size) smooth random images of equal contrast in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 3, 5, 5, generator=generator)
    image = F.interpolate(coarse, size=size, mode="bicubic")
    image = image + 0.3 * torch.randn(n, 3, size, size, generator=generator)
    image = image - image.mean(dim=(1, 2, 3), keepdim=True)
    return (0.4 * image / image.std(dim=(1, 2, 3), keepdim=True)).clamp(-1, 1)


def draw_captions(n: int, seed: int, words: int = 6) -> tuple[str, ...]:
    """n captions of distinct words."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(WORDS), generator=generator)[:words] for _ in range(n)]
    return tuple(" ".join(WORDS[i] for i in order.tolist()) for order in orders)


def draw_batch(n: int, seed: int, size: int = IMAGE) -> Batch:
    """n random pictures with random captions; sample ids say nothing about the draw."""
    ids = [blake2b(f"{seed}|{i}".encode(), digest_size=6).hexdigest() for i in range(n)]
    return Batch(
        tuple(f"random:{sid}" for sid in ids), draw_pictures(n, seed, size), draw_captions(n, seed)
    )


@pytest.fixture(scope="session")
def random_batch() -> Callable[..., Batch]:
    """random_batch(n, seed=0, size=16): pictures nobody trained on, with captions of six words."""

    def draw(n: int, seed: int = 0, size: int = IMAGE) -> Batch:
        return draw_batch(n, seed, size)

    return draw


@pytest.fixture(scope="session")
def tiny_unet() -> nn.Module:
    """A random UNet2DConditionModel on 4 x 8 x 8 latents and 6 x 16 text tokens."""
    from diffusers import UNet2DConditionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            mid_block_type=None,
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=4,
        )
    return unet.eval()


@pytest.fixture(scope="session")
def random_target(tiny_unet: nn.Module) -> Callable[..., Target]:
    """random_target(prediction_type="epsilon", unet=None, size=16, **options of Target)."""

    def build(
        prediction_type: str = "epsilon",
        unet: nn.Module | None = None,
        size: int = IMAGE,
        **options: Any,
    ) -> Target:
        return Target(
            tiny_unet if unet is None else unet,
            MixedCodec(),
            HashedTokens(),
            (4, size // 2, size // 2),
            scaled_linear(),
            prediction_type,
            **options,
        ).eval()

    return build


@pytest.fixture(scope="session")
def memorize() -> Callable[..., Memorized]:
    """memorize(n=60, prediction_type="epsilon", seed=0, size=16): n members, twice n unseen."""

    def build(
        n: int = 60, prediction_type: str = "epsilon", seed: int = 0, size: int = IMAGE
    ) -> Memorized:
        member, unseen, unseen2 = (draw_batch(n, 10 * seed + i, size) for i in (1, 2, 3))
        target = memorizer(member.image, member.caption, prediction_type, side=2, seed=seed)
        return Memorized(target, member, unseen, unseen2)

    return build


@pytest.fixture
def memorized(memorize: Callable[..., Memorized]) -> Memorized:
    """60 memorised images, and 60 and 60 unseen ones, of the epsilon-predicting memorizer."""
    return memorize()


def measure(attack: Attack, target: Target, batch: Batch) -> dict[str, Any]:
    """Features of a batch as stored: float32 arrays, gradients off below white-box."""
    target.start_attack()
    with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
        features = attack.features(target, batch)
    target.forget()
    return {name: value.detach().float().cpu().numpy() for name, value in features.items()}


def examine(attack: Attack, drawn: Memorized) -> Exam:
    """Even rows of members and unseen images calibrate; the odd ones of all three are scored."""
    parts = [measure(attack, drawn.target, batch) for batch in drawn[1:]]
    even, odd = (np.arange(start, len(drawn.member), 2) for start in (0, 1))

    def join(rows: Any, *which: int) -> dict[str, Any]:
        return {name: np.concatenate([parts[i][name][rows] for i in which]) for name in parts[0]}

    labels = np.repeat([True, False], len(even))
    known = Calibration(join(even, 0, 1), labels, np.arange(len(labels)).astype(str))
    return Exam(known, join(odd, 0, 1, 2), len(odd))


def judge(attack: Attack, drawn: Memorized) -> Verdict:
    exam = examine(attack, drawn)
    return exam.verdict(attack.score(exam.rows, exam.known))


@pytest.fixture(scope="session", name="measure")
def fixture_measure() -> Callable[[Attack, Target, Batch], dict[str, Any]]:
    return measure


@pytest.fixture(scope="session", name="examine")
def fixture_examine() -> Callable[[Attack, Memorized], Exam]:
    return examine


@pytest.fixture(scope="session", name="judge")
def fixture_judge() -> Callable[[Attack, Memorized], Verdict]:
    return judge


@pytest.fixture
def fresh_target(random_target, tiny_unet) -> Callable[..., Target]:
    """fresh_target(prediction_type="epsilon"): a random target with a U-Net of its own."""

    def build(prediction_type: str = "epsilon") -> Target:
        return random_target(prediction_type, unet=copy.deepcopy(tiny_unet))

    return build


@pytest.fixture(scope="session")
def experiment() -> Callable[..., Experiment]:
    """experiment(*overrides): the checked objects of a command line."""

    def compose_and_check(*overrides: str) -> Experiment:
        register_schema()
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return to_experiment(compose("config", overrides=list(overrides)))

    return compose_and_check


SMALL = (
    "trainer=cpu",
    "finetune.steps=4",
    "finetune.batch_size=8",
    "finetune.val_every=4",
    "finetune.val_rows=4",
    "eval.resamples=200",
    "calibration.folds=3",
    "data.sizes.target_member=12",
    "data.sizes.target_nonmember=24",
    "data.sizes.shadow_member=12",
    "data.sizes.shadow_nonmember=12",
)


@pytest.fixture(scope="session")
def small_overrides() -> tuple[str, ...]:
    """What makes the default run small: 60 drawings, 4 training steps."""
    return SMALL


@pytest.fixture(scope="session")
def small(experiment) -> Callable[..., Experiment]:
    """small(*overrides, outputs=folder): the default run on 60 drawings and 4 training steps."""

    def build(*overrides: str, outputs: Path) -> Experiment:
        given = {override.partition("=")[0].lstrip("+") for override in overrides}
        base = [o for o in SMALL if o.partition("=")[0] not in given]
        return experiment(*base, f"paths.outputs={outputs}", *overrides)

    return build


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """once(name, make): a folder that `make` fills, whichever of pytest's processes needs it first;
    not to be written to."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        path = root / f"once-{name}"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                partial = path.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)
                make(partial)
                partial.rename(path)
        return path

    return folder


ENCODED = ("splits", "cache")
TRAINED = (*ENCODED, "targets", "controls")


@pytest.fixture(scope="session")
def trained(small, once) -> Callable[..., Path]:
    """trained(outputs, parts=TRAINED): what an earlier run of `small` leaves there: split, latents,
    target, shadow and blind rows. The attacks are still to be made."""

    def make(outputs: Path) -> None:
        from mia_bench.execution.run import execute

        execute(small("attack=loss", "eval.base_rows=[]", outputs=outputs))

    def copy_to(outputs: Path, parts: Sequence[str] = TRAINED) -> Path:
        for part in parts:
            shutil.copytree(once("trained", make) / part, outputs / part)
        return outputs

    return copy_to


@pytest.fixture(scope="session")
def encoded(trained) -> Callable[[Path], Path]:
    """encoded(outputs): the split and latents of `small` alone, which take a new process seconds;
    nothing is trained."""
    return lambda outputs: trained(outputs, ENCODED)


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """run_python(*arguments, check=True): this interpreter in a process of its own."""

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=300
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} failed:\n{done.stdout}\n{done.stderr}")
        return done

    return run


@pytest.fixture(scope="session")
def store_cell() -> Callable[..., Path]:
    """store_cell(outputs, attack="clid", target="t" * 16, step=300, seed=0): a finished run.

    240 scored rows, written and sealed as a real run is, and its target when there is none.
    """

    def build(
        outputs: Path, attack: str = "clid", target: str = "a" * 16, step: int = 300, seed: int = 0
    ) -> Path:
        model = outputs / "targets" / target
        if not model.exists():
            _store_target(model, seed)
        key = hash_key([attack, target, step, seed])
        folder = outputs / "runs" / target / str(step) / f"{attack}-{key}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(seed)
        member = np.arange(240) < 30
        frame = pd.DataFrame(
            {
                "sample_id": [f"fake:{i:012x}" for i in range(240)],
                "group": [str(i) for i in range(240)],
                "role": np.where(member, "target_member", "target_nonmember"),
                "is_member": member,
                "score": rng.normal(size=240) + member,
                "calibration": False,
            }
        )
        frame.to_parquet(folder / "scores.parquet", index=False)
        roc = roc_curve(frame.score.to_numpy(), member)
        pd.DataFrame(vars(roc)).to_parquet(folder / "roc.parquet", index=False)
        thresholds = Thresholds(0.5, None, 0, "too few")
        groups = frame.group.tolist()
        metrics = evaluate(frame.score.to_numpy(), member, groups, thresholds, seed, 100)
        metrics |= {"controls": {}, "nfe_forward": 15.0, "nfe_backward": 0.0, "seconds": 3.0}
        write_json(folder / "metrics.json", metrics)
        (folder / "config.yaml").write_text(_stored_config(seed, {attack: {"alpha": None}}))
        seal(folder, {"attack": attack, "wall_seconds": 1.0})
        return folder

    return build


def _store_target(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    history = [{"step": 100.0 * i, "train_loss": 0.1, "val_heldout": 0.2 / i} for i in (1, 2, 3)]
    write_history(folder / "train.csv", history)
    (folder / "config.yaml").write_text(_stored_config(seed, {}))
    seal(folder, {"kind": "target", "steps": 300, "epochs": 10.0, "device": "cpu", "base": "b"})


def _stored_config(seed: int, attack: dict[str, Any]) -> str:
    config = {
        "model": {"path": "bundled:tiny"},
        "data": {"name": "openmoji"},
        "mitigation": {},
        "attack": attack,
        "seed": seed,
    }
    return str(OmegaConf.to_yaml(OmegaConf.create(config)))
