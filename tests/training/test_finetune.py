"""Fine-tuning: what a step sees, resuming, accumulating, averaging, and failing clearly."""

from __future__ import annotations

import copy
import csv
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoded import RECIPE, rows, treated
from PIL import Image
from safetensors.torch import load_file

from mia_bench.config.recipe import Recipe
from mia_bench.config.schema import TrainerOptions
from mia_bench.data.source import Item
from mia_bench.mitigations.augment import Augment
from mia_bench.mitigations.caption_influence import CaptionInfluence
from mia_bench.mitigations.dp import DpSgd
from mia_bench.mitigations.early_stop import EarlyStop, chosen_step
from mia_bench.mitigations.proxy_attacker import ProxyAttacker
from mia_bench.mitigations.random_rows import RandomRows
from mia_bench.mitigations.spectral import Shrink, SpectralFilter
from mia_bench.models.lora.training import load_lora
from mia_bench.training.batches import EncodedRows
from mia_bench.training.finetune import finetune
from mia_bench.training.module import FinetuneModule
from mia_bench.training.views import training_rows
from mia_bench.utils.errors import MiaError

CPU = TrainerOptions(accelerator="cpu")


def pictures(n: int) -> list[Item]:
    def draw(i: int) -> Image.Image:
        values = np.random.default_rng(i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        return Image.fromarray(values)

    return [Item(f"member:{i}", f"picture {i}", f"{i}", lambda _, i=i: draw(i)) for i in range(n)]


def train(
    make,
    folder: Path,
    recipe: Recipe = RECIPE,
    prediction_type: str = "epsilon",
    fail=None,
    mitigations=None,
):
    """(weights that are attacked, manifest) of a fine-tune on 7 random latents or pictures."""
    target = make(prediction_type)
    folder.mkdir(parents=True, exist_ok=True)
    members, heldout = rows(target, 7, "member"), rows(target, 5, "heldout")
    if fail is not None:
        fail(members)
    setup = treated(recipe, mitigations)
    seen, views = training_rows(target, members, pictures(7), 16, setup)
    others = rows(target, 6, "other")
    about = finetune(target, members, heldout, setup, CPU, folder, "", seen, views, others)
    step = about.get("chosen_step", recipe.steps)
    (file,) = (folder / "steps" / str(step)).glob("*.safetensors")
    return load_file(file), about


def same(a, b, exact=True) -> bool:
    close = torch.equal if exact else lambda x, y: torch.allclose(x, y, atol=1e-6)
    return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def plain(random_target, tiny_unet, tmp_path_factory):
    """Weights of the plain recipe, which nothing disturbed."""

    def fresh(prediction_type):
        return random_target(prediction_type, unet=copy.deepcopy(tiny_unet))

    return train(fresh, tmp_path_factory.mktemp("plain"))[0]


def test_training_lowers_the_loss_and_leaves_its_record(fresh_target, tmp_path):
    recipe = replace(RECIPE, steps=60, val_every=20)
    _, about = train(fresh_target, tmp_path, recipe)
    history = list(csv.DictReader((tmp_path / "train.csv").read_text().splitlines()))
    assert [float(r["step"]) for r in history] == [20, 40, 60]
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])
    assert set(history[0]) == {"step", "epoch", "train_loss", "val_member", "val_heldout"}
    assert about["epochs"] == pytest.approx(60 * 4 / 7, abs=0.01)


class KilledError(Exception):
    pass


def killed_at_step_5(monkeypatch, run) -> None:
    step = FinetuneModule.training_step

    def killed(self, batch, batch_idx):
        if self.global_step == 5:
            raise KilledError
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, "training_step", killed)
        with pytest.raises(KilledError):
            run()


def test_sigterm_ends_a_fine_tune_with_a_status(fresh_target, plain, tmp_path, monkeypatch):
    """Lightning alone would end it with status 0, as if it were done."""
    step = FinetuneModule.training_step

    def told_to_end(self, batch, batch_idx):
        if self.global_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, "training_step", told_to_end)
        with pytest.raises(SystemExit) as ended:
            train(fresh_target, tmp_path / "part")
    assert ended.value.code == 128 + signal.SIGTERM
    resumed, _ = train(fresh_target, tmp_path / "part")
    assert same(resumed, plain)


TREATED = {
    "plain": (RECIPE, {}),
    "average": (replace(RECIPE, ema_decay=0.9), {}),
    "adapters": (replace(RECIPE, lora_rank=2, ema_decay=0.9), {}),
    "augment": (RECIPE, {"augment": Augment(crop=0.5, flip=0.5, randaugment=5, colour=0.3)}),
    # A validation and a checkpoint fall on the same step, and patience runs across the kill.
    "early_stop": (
        replace(RECIPE, steps=20, lr=0.1, val_every=2),
        {"early_stop": EarlyStop(patience=3, every=2, rows=5)},
    ),
    "ss_ei": (RECIPE, {"ss_ei": CaptionInfluence(threshold=0.7)}),
    "random_rows": (RECIPE, {"random_rows": RandomRows()}),
    "smp": (RECIPE, {"smp_lora": ProxyAttacker(attacker_lr=1e-3, attacker_steps=2)}),
    "mp_adapters": (
        replace(RECIPE, lora_rank=2),
        {"mp_lora": ProxyAttacker(form="mp", attacker_lr=1e-3)},
    ),
    "spectral": (replace(RECIPE, ema_decay=0.9, save_at=[3]), {"spectral": SpectralFilter()}),
    "dp": (replace(RECIPE, max_grad_norm=0.0), {"dp": DpSgd(noise=0.5, clip=0.1, delta=1e-3)}),
}
FIRST_LOOK = {"random_rows"}  # the others are in `make test-rest`


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FIRST_LOOK else pytest.mark.long) for n in TREATED]
)
def test_a_killed_fine_tune_resumes_to_identical_weights(fresh_target, tmp_path, monkeypatch, name):
    recipe, mitigations = TREATED[name]

    def run(folder: str):
        return train(fresh_target, tmp_path / folder, recipe, mitigations=mitigations)

    expected, about = run("whole")
    step = FinetuneModule.training_step

    killed_at_step_5(monkeypatch, lambda: run("killed"))
    assert (tmp_path / "killed" / "last.ckpt").exists()
    steps = []

    def counted(self, batch, batch_idx):
        steps.append(self.global_step)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FinetuneModule, "training_step", counted)
    resumed, about_resumed = run("killed")
    assert steps == list(range(4, about["steps"]))
    assert same(resumed, expected)
    for field in ("steps", "chosen_step", "privacy", "dropped_rows", "update_kept"):
        assert about_resumed.get(field) == about.get(field)
    assert about_resumed["history"] == about["history"]
    left, left_again = (
        sorted(p.name for p in (tmp_path / f / "steps").iterdir()) for f in ("whole", "killed")
    )
    assert left_again == left


@pytest.mark.long
def test_two_kills_between_two_checkpoints_amid_a_step(fresh_target, tmp_path, monkeypatch):
    """The second comes two micro-batches after the first resume, which left no new checkpoint."""
    recipe = replace(RECIPE, accumulate=4, val_every=6)
    expected, about = train(fresh_target, tmp_path / "whole", recipe)
    step, left = FinetuneModule.training_step, []

    def killed(self, batch, batch_idx):
        left[0] -= 1
        if left[0] == 0:
            raise KilledError
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, "training_step", killed)
        for micro_batches in (2 * 4 + 3, 3):
            left[:] = [micro_batches]
            with pytest.raises(KilledError):
                train(fresh_target, tmp_path / "killed", recipe)
    found, about_found = train(fresh_target, tmp_path / "killed", recipe)
    assert same(found, expected)
    assert about_found["history"] == about["history"]


@pytest.mark.long
def test_accumulation_gives_the_same_weights(fresh_target, plain, tmp_path):
    two, _ = train(fresh_target, tmp_path / "2", replace(RECIPE, accumulate=2))
    # Sums of gradients are rounded differently; AdamW's first steps amplify that.
    worst = max((plain[k] - two[k]).abs().max().item() for k in plain)
    assert worst < 1e-3


@pytest.mark.long
def test_scheduled_steps_are_saved_and_equal_shorter_runs(fresh_target, tmp_path):
    train(fresh_target, tmp_path / "long", replace(RECIPE, save_at=[3]))
    short, _ = train(fresh_target, tmp_path / "short", replace(RECIPE, steps=3))
    path = tmp_path / "long" / "steps" / "3" / "diffusion_pytorch_model.safetensors"
    assert same(load_file(path), short)


@pytest.mark.long
def test_an_average_is_saved_when_asked_for(fresh_target, plain, tmp_path):
    averaged, _ = train(fresh_target, tmp_path / "ema", replace(RECIPE, ema_decay=0.9))
    assert not same(plain, averaged)


def test_a_loss_that_is_not_finite_names_step_and_rows(fresh_target, tmp_path):
    def poison(members: EncodedRows) -> None:
        members.z0[2] = float("nan")

    with pytest.raises(MiaError, match=r"training loss became nan at step \d+ \(rows member:2\)"):
        train(fresh_target, tmp_path, fail=poison)


def test_a_gradient_that_is_not_finite_names_step_and_rows(fresh_target, tmp_path, monkeypatch):
    """The loss is finite; a backward pass that overflows would only show one step later."""
    step, asked = FinetuneModule.training_step, []

    def overflows(self, batch, batch_idx):
        asked.append([self.training_rows.sample_id[i] for i in batch["row"].tolist()])
        loss = step(self, batch, batch_idx)
        return (
            loss + self.unet.conv_in.bias[0] * float("inf") * 0 if self.global_step == 3 else loss
        )

    monkeypatch.setattr(FinetuneModule, "training_step", overflows)
    with pytest.raises(MiaError, match=r"gradient became nan at step 3 \(rows member") as error:
        train(fresh_target, tmp_path, replace(RECIPE, accumulate=2))
    for row in {*asked[-1], *asked[-2]}:
        assert row in str(error.value)


def test_a_validation_loss_that_is_not_finite_is_an_error(fresh_target, tmp_path):
    def poison(members: EncodedRows) -> None:
        members.z0[0] = 3e38  # finite, and validated before it is trained on

    recipe = replace(RECIPE, val_every=1, steps=1, batch_size=1)
    with pytest.raises(MiaError, match=r"loss.* at step [01] \(rows member:0\)"):
        train(fresh_target, tmp_path, recipe, fail=poison)


@pytest.mark.first_look
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_said_and_training_begins_again(
    fresh_target, plain, tmp_path, monkeypatch, capsys, damage
):
    killed_at_step_5(monkeypatch, lambda: train(fresh_target, tmp_path / "killed"))
    checkpoint = tmp_path / "killed" / "last.ckpt"
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 4
    cut = {"truncated": len(data) // 2, "flipped": len(data), "empty": 0}[damage]
    checkpoint.write_bytes(data[:cut])
    found, _ = train(fresh_target, tmp_path / "killed")
    assert same(found, plain)
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.long
def test_a_fused_optimizer_and_recomputed_activations_change_no_more_than_rounding(
    fresh_target, plain, tmp_path
):
    for name, change in (
        ("fused", {"optimizer": "adamw_fused"}),
        ("recomputed", {"gradient_checkpointing": True}),
    ):
        found, _ = train(fresh_target, tmp_path / name, replace(RECIPE, **change))
        worst = max((plain[k] - found[k]).abs().max().item() for k in plain)
        assert worst < 1e-3


def test_what_was_killed_after_it_had_stopped_trains_no_further(fresh_target, tmp_path):
    """The checkpoint of the last validation is there, the manifest is not yet."""
    recipe = replace(RECIPE, steps=40, lr=0.1, val_every=2, val_rows=5)
    stop = EarlyStop(patience=1, every=2, rows=5)
    weights, about = train(fresh_target, tmp_path, recipe, mitigations={"early_stop": stop})
    history = (tmp_path / "train.csv").read_text()
    assert about["steps"] < 40
    again, about_again = train(fresh_target, tmp_path, recipe, mitigations={"early_stop": stop})
    assert (tmp_path / "train.csv").read_text() == history
    assert about_again["chosen_step"] == about["chosen_step"]
    assert same(weights, again)


@pytest.mark.long
def test_early_stopping_attacks_the_best_validated_weights(fresh_target, tmp_path):
    recipe = replace(RECIPE, steps=40, lr=0.1, val_every=2, save_at=[2])
    stop = EarlyStop(patience=2, every=2, rows=5)
    weights, about = train(fresh_target, tmp_path, recipe, mitigations={"early_stop": stop})
    steps = [int(r["step"]) for r in about["history"]]
    losses = [r["val_heldout"] for r in about["history"]]
    assert about["steps"] < 40
    assert about["chosen_step"] == steps[int(np.argmin(losses))]
    assert (about["chosen_step"], about["steps"]) == chosen_step(steps, losses, stop.patience)
    saved = {p.name for p in (tmp_path / "steps").iterdir()}
    assert saved == {"2", str(about["chosen_step"])}
    plain, _ = train(
        fresh_target, tmp_path / "short", replace(recipe, steps=about["chosen_step"], save_at=[])
    )
    assert same(weights, plain)


def test_adapters_alone_are_trained_saved_and_checkpointed(fresh_target, tmp_path, monkeypatch):
    from lightning.pytorch import Trainer

    names = []
    save = Trainer.save_checkpoint

    def look(self, path, *rest):
        save(self, path, *rest)
        names.append(set(torch.load(path, weights_only=True)["state_dict"]))

    monkeypatch.setattr(Trainer, "save_checkpoint", look)
    target = fresh_target()
    before = {k: v.clone() for k, v in target.unet.state_dict().items()}
    found, _ = train(fresh_target, tmp_path, replace(RECIPE, lora_rank=2))
    assert found
    assert all(".lora" in name for name in found)
    assert all(".lora_" in name for name in names[0] if name.startswith("unet."))
    load_lora(target.unet, tmp_path / "steps" / "6")
    changed = {k for k, v in target.unet.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all("to_" in name for name in changed)


def test_training_without_held_out_rows_validates_on_members_alone(fresh_target, tmp_path):
    target = fresh_target()
    members = rows(target, 7, "member")
    about = finetune(target, members, None, treated(RECIPE, heldout=0), CPU, tmp_path)
    assert set(about["history"][0]) == {"step", "epoch", "train_loss", "val_member"}


@pytest.mark.long
def test_dropped_activations_follow_the_step_alone(fresh_target, tmp_path):
    """Whatever torch's own generator has done before, as after a resume."""

    def dropping(prediction_type):
        target = fresh_target(prediction_type)
        for module in target.unet.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.5
        return target

    recipe = replace(RECIPE, steps=3)
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        weights.append(train(dropping, tmp_path / str(seed), recipe)[0])
    assert same(*weights)
    assert not same(weights[0], train(fresh_target, tmp_path / "plain", recipe)[0])


@pytest.mark.long
def test_the_share_of_dropped_rows_is_recorded(fresh_target, tmp_path):
    """Everything is dropped, nothing is, and something between; weights follow."""
    weights, shares = {}, {}
    for threshold in (1e-9, 0.7, 1e9):
        one = {"ss_ei": CaptionInfluence(threshold=threshold)}
        weights[threshold], about = train(fresh_target, tmp_path / str(threshold), mitigations=one)
        shares[threshold] = about["dropped_rows"]["share"]
        in_history = [row["dropped_share"] for row in about["history"]]
        assert np.mean(in_history) == pytest.approx(shares[threshold], abs=1e-5)
        assert about["dropped_rows"]["steps_without_rows"] == (6 if threshold < 1e-3 else 0)
    plain, about = train(fresh_target, tmp_path / "plain")
    assert "dropped_rows" not in about
    assert set(about["history"][0]) == {"step", "epoch", "train_loss", "val_member", "val_heldout"}
    assert shares[1e-9] == 1
    assert shares[1e9] == 0
    assert 0 < shares[0.7] < 1
    assert same(weights[1e9], plain)
    assert not same(weights[0.7], plain)


@pytest.mark.long
def test_rows_left_out_at_random_weigh_nothing_and_others_are_a_mean(fresh_target, plain, tmp_path):
    """Two thirds of four rows: two or three, never an evaluation more, and other weights."""
    control = {"random_rows": RandomRows(dropped=2 / 3)}
    weights, about = train(fresh_target, tmp_path / "control", mitigations=control)
    again, _ = train(fresh_target, tmp_path / "again", mitigations=control)
    assert 2 / 4 <= about["dropped_rows"]["share"] <= 3 / 4
    assert same(weights, again)
    assert not same(weights, plain)


def test_a_step_that_keeps_no_row_changes_no_weight(fresh_target, tmp_path):
    """Neither by weight decay nor by what the optimizer remembers, and no loss is NaN."""
    before = {k: v.clone() for k, v in fresh_target().unet.state_dict().items()}
    recipe = replace(RECIPE, weight_decay=0.5, ema_decay=0.9)
    nothing = {"ss_ei": CaptionInfluence(threshold=1e-9)}
    weights, about = train(fresh_target, tmp_path, recipe, mitigations=nothing)
    assert same(weights, before)
    assert all(np.isfinite(value) for row in about["history"] for value in row.values())


@pytest.mark.long
def test_a_filtered_update_is_saved_and_training_goes_on_unfiltered(fresh_target, tmp_path):
    recipe = replace(RECIPE, save_at=[3])
    plain, _ = train(fresh_target, tmp_path / "plain", recipe)
    half, about = train(
        fresh_target, tmp_path / "half", recipe, mitigations={"shrink": Shrink(factor=0.5)}
    )
    base = fresh_target().unet.state_dict()
    for name, value in half.items():
        expected = (base[name] + plain[name]) / 2 if value.ndim > 1 else plain[name]
        assert torch.allclose(value, expected, atol=1e-6)
    assert about["update_kept"] == pytest.approx(0.25, abs=1e-4)


@pytest.mark.long
def test_filtered_adapters_stay_adapters_of_the_same_rank(fresh_target, tmp_path):
    recipe = replace(RECIPE, lora_rank=2)
    plain, _ = train(fresh_target, tmp_path / "plain", recipe)
    half, _ = train(
        fresh_target, tmp_path / "half", recipe, mitigations={"shrink": Shrink(factor=0.5)}
    )
    assert {k: v.shape for k, v in half.items()} == {k: v.shape for k, v in plain.items()}
    for name in (name for name in plain if ".lora_A" in name):
        up = name.replace(".lora_A", ".lora_B")
        product = plain[up] @ plain[name]
        assert torch.allclose(half[up] @ half[name], product / 2, atol=1e-6)
        assert product.abs().max() > 1e-4
