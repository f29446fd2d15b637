"""Keys: everything that decides an artefact is in them, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mia_bench.config.schema import Data
from mia_bench.planning import keys as planning_keys
from mia_bench.planning.keys import ensemble_key, figures_key, split_file, trajectory_key
from mia_bench.utils.errors import MiaError


def keys(plan):
    (run,) = plan.runs
    return (
        plan.target.key,
        run.evaluation.folder.name,
        run.folder.name,
    )


@pytest.fixture(scope="module")
def usual(plan_of):
    return keys(plan_of("attack=clid"))


@pytest.mark.parametrize(
    "override",
    [
        "trainer=cpu",
        "eval.batch_size=5",
        "model.chunk=3",
        "model.chunk=auto",
        "trainer.workers=2",
        "trainer.compile=default",
        "finetune.val_every=1",
        "finetune.checkpoint_every=7",
        "finetune.gradient_checkpointing=true",
        "eval.utility=true",
        "logger=wandb",
        "debug=true",
    ],
)
def test_how_something_is_computed_is_not_part_of_it(plan_of, usual, override):
    assert keys(plan_of("attack=clid", override)) == usual


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("finetune.lr=0.1", (True, False, True)),
        ("finetune.steps=5", (True, False, True)),
        ("finetune.seed=3", (True, False, True)),
        ("finetune.lora_rank=2", (True, False, True)),
        ("mitigation=augment", (True, False, True)),
        ("mitigation=[augment,ema]", (True, False, True)),
        ("calibration.shadow_mitigation=none", (False, False, True)),
        ("trainer.precision=bf16-mixed", (True, False, True)),
        ("eval.seed=3", (False, True, True)),
        ("eval.dtype=bfloat16", (False, True, True)),
        ("attack.clid.timesteps=[1,2]", (False, True, True)),
        ("attack.clid.reduction=none", (False, True, True)),
        ("attack.clid.alpha=0.3", (False, False, True)),
        ("attack.clid.decision=classifier", (False, False, True)),
        ("eval.resamples=300", (False, False, True)),
        ("calibration.folds=2", (False, False, True)),
        ("eval.blind_encoder=ViT-B-32/openai", (False, False, True)),
        ("data.split_seed=3", (True, True, True)),
    ],
)
def test_what_decides_an_artefact_is_in_its_key(plan_of, usual, override, changed):
    other = keys(plan_of("attack=clid", override))
    assert tuple(a != b for a, b in zip(usual, other, strict=True)) == changed


@pytest.mark.long
def test_what_controls_see_of_images_decides_their_folder(plan_of):
    plain, seen = plan_of("attack=loss"), plan_of("attack=loss", "eval.blind_encoder=a/b")
    assert plain.blind != seen.blind
    assert plan_of("attack=loss", "eval.blind_encoder=null").blind == plain.blind


@pytest.mark.parametrize(
    "overrides",
    [
        ("attack=drc", "++attack.drc.measures=[open_clip]", "++attack.drc.compare=open_clip"),
        ("attack=gen_sim", "++attack.gen_sim.measures=[open_clip]"),
        ("attack=img2img", "++attack.img2img.measures=[open_clip]"),
        ("attack=loss", "eval.blind_encoder=local-dir:{folder}"),
        ("attack=loss", "eval.utility=true", "eval.utility_clip=local-dir:{folder}"),
    ],
    ids=["drc", "gen_sim", "img2img", "blind", "utility"],
)
def test_another_encoder_under_the_same_name_has_another_key(plan_of, tmp_path, overrides):
    (tmp_path / "model.safetensors").write_bytes(b"one network")
    attack = overrides[0].partition("=")[2]
    chosen = [override.format(folder=tmp_path) for override in overrides]
    if attack != "loss":
        chosen.append(f"++attack.{attack}.clip=local-dir:{tmp_path}")
    if attack in ("gen_sim", "img2img"):
        chosen.append(f"++attack.{attack}.compare=open_clip")

    def found():
        plan = plan_of(*chosen)
        return {*keys(plan), plan.blind.name, *(folder.name for folder in plan.utility.values())}

    before = found()
    (tmp_path / "model.safetensors").write_bytes(b"another network")
    assert found() - before
    (tmp_path / "model.safetensors").write_bytes(b"one network")
    (tmp_path / "notes.md").write_text("what was tried", encoding="utf-8")
    assert found() == before


def test_an_encoder_that_nothing_uses_is_no_part_of_a_key(plan_of, tmp_path):
    chosen = ("attack=drc", f"++attack.drc.clip=local-dir:{tmp_path}")
    before = keys(plan_of(*chosen))
    (tmp_path / "model.safetensors").write_bytes(b"a network")
    assert keys(plan_of(*chosen)) == before


def test_captions_without_spaces_that_are_read_anew_are_part_of_it(plan_of, monkeypatch):
    plan = plan_of("attack=loss", "mitigation=caption_delete")
    items = {sid: replace(item, caption="桌子上的一只猫") for sid, item in plan.items.items()}
    anew = replace(plan, items=items)
    assert anew.target.key != plan.target.key
    assert anew.blind != plan.blind
    monkeypatch.setattr("mia_bench.mitigations.captions.has_unspaced", lambda _: False)
    assert replace(anew).target.key == plan.target.key  # else the split alone tells captions


def test_the_order_of_mitigations_does_not_matter(plan_of):
    one, two = (plan_of(f"mitigation=[{m}]") for m in ("ema,augment", "augment,ema"))
    assert one.target.key == two.target.key


@pytest.mark.long
def test_an_ensemble_is_what_it_combines_and_what_it_is_compared_with(plan_of):
    names = ("[clid,mc]", "[clid,clid_vec,mc]", "[clid_vec,clid,mc]")
    plans = [plan_of(f"attack={name}", "eval.ensemble=true") for name in names]
    assert len({plan.ensemble.name for plan in plans}) == 3
    assert len({plan.ensemble.parent for plan in plans}) == 1


def test_an_imported_split_is_known_by_its_content(tmp_path):
    data, source = Data("photos", sizes={"target_member": 3}), {"_target_": "a.Source"}
    own = split_file(tmp_path, data, source)
    assert own.parent == tmp_path / "splits"
    assert own.name.startswith("photos-")
    data.split = str(tmp_path / "split.json")
    with pytest.raises(MiaError, match=r"data\.split=.* cannot be read: No such file"):
        split_file(tmp_path, data, source)
    files = []
    for content in ("one", "other", "one"):
        (tmp_path / "split.json").write_text(content)
        files.append(split_file(tmp_path, data, source))
    assert files[0] == files[2] != files[1]
    assert own not in files


def test_reports_are_found_under_their_keys():
    """The first is that of the default run's figure, as earlier versions named it."""
    assert figures_key(["clid-73e38d8a534ccc0c"]) == "ef9555357fcbe8c1"
    key = trajectory_key([1, 2], ["loss", "clid"], 0)
    assert key == trajectory_key((1, 2), ("clid", "loss"), 0)
    assert key != trajectory_key([1, 2], ["loss", "clid"], 1)


def test_how_an_ensemble_combines_features_is_in_its_key_once_it_changes(monkeypatch):
    runs = ["loss-0", "clid-0"]
    usual = ensemble_key(runs, runs)
    monkeypatch.setattr(planning_keys, "COMBINATION_VERSION", 2)
    assert ensemble_key(runs, runs) != usual
