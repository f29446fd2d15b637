"""The default run on 60 drawings, and what runs leave behind: fixtures every test may use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mia_bench.config.compose import conf_dir, register_schema
from mia_bench.metrics import Thresholds, roc_curve
from mia_bench.metrics.summary import evaluate
from mia_bench.planning.experiment import Experiment, to_experiment
from mia_bench.storage.artifacts import seal
from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.sweep.composition import Composer


@pytest.fixture(scope="session")
def experiment() -> Callable[..., Experiment]:
    """experiment(*overrides): the checked objects of a command line.

    Composed as the jobs of a sweep are, which tests/sweep/test_composition.py compares with Hydra:
    files are read once for every choice of files.
    """
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("config", return_hydra_config=True)
        composer = Composer(config, GlobalHydra.instance().config_loader())

    def compose_and_check(*overrides: str) -> Experiment:
        if "schema.yaml" not in ConfigStore.instance().repo:  # a command in this process resets it
            register_schema()
        return to_experiment(composer.compose(overrides))

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
            [sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=600
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
    from mia_bench.training.checkpoints import write_history  # which imports Lightning

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
