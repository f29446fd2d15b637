"""The study of mitigations: a small one, its tables, and that a second run trains nothing."""

from __future__ import annotations

import json

import pytest

from mia_bench.studies.mitigation_tables import report
from mia_bench.studies.mitigations import (
    captioned,
    chosen_cells,
    commands,
    fitting,
    plan_all,
    run,
)
from mia_bench.utils.errors import MiaError

CHOICES = ("attack=[loss]", "eval.utility_images=8", "eval.blind_rows=false")


@pytest.fixture(scope="module")
def study(small_overrides, trained, tmp_path_factory):
    outputs = trained(tmp_path_factory.mktemp("study") / "outputs")
    given = [*small_overrides, *CHOICES, f"paths.outputs={outputs}", "mitigation.dp.epsilon=80"]
    return run([0], ["none", "dp"], given)


@pytest.mark.long
def test_every_cell_has_attacks_utility_and_what_was_spent(study):
    none, private = study["none"][0], study["dp"][0]
    assert none.change == {}
    change = private.change["loss"]
    assert change["value"] == pytest.approx(
        private.auroc["loss"]["value"] - none.auroc["loss"]["value"]
    )
    assert private.about["privacy"]["epsilon"] == pytest.approx(80, abs=1)
    assert private.about["privacy"]["clip"] == 0.02
    assert none.utility["heldout_loss"] != private.utility["heldout_loss"]
    assert none.base == private.base
    assert none.ignorant == {}
    ignorance = private.ignorance["loss"]["value"]
    difference = private.ignorant["loss"]["value"] - private.auroc["loss"]["value"]
    assert ignorance == pytest.approx(difference)
    assert ignorance == 0  # the loss fits nothing, so that knowing the mitigation moves no rank
    assert private.ignorant_asr["loss"] != private.asr["loss"]


@pytest.mark.long
def test_tables_and_figures_are_written(study, tmp_path):
    text = report(study, tmp_path, "0 small=true").read_text()
    assert "`mia-bench mitigations 0 small=true`, seeds 0" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[1] for line in lines if line.startswith("| loss")] == ["none", "dp"]
    assert any(line.startswith("| (base)") for line in lines)
    assert len({line.count("|") for line in lines[:3]}) == 1
    stored = json.loads((tmp_path / "mitigations.json").read_text())
    assert stored["dp"]["0"]["auroc"]["loss"]["value"] == study["dp"][0].auroc["loss"]["value"]
    assert (tmp_path / "mitigations.png").is_file()
    assert (tmp_path / "mitigations.svg").is_file()


def test_an_option_of_a_mitigation_reaches_its_own_cells_alone():
    given = ["seed=1", "mitigation.dp.clip=2", "+mitigation.lora.rank=3"]
    assert fitting(given, "dp") == ["seed=1", "mitigation.dp.clip=2"]
    assert fitting(given, "none") == ["seed=1"]


def test_captions_of_a_machine_make_a_cell_of_either_direction():
    cells, overrides = captioned("file:said.csv")
    assert cells == ["caption_machine", "attacker_captions"]
    assert fitting(overrides, "caption_machine") == ["mitigation.caption_machine.file=said.csv"]
    assert fitting(overrides, "attacker_captions") == ["data.captions=file:said.csv"]
    assert fitting(overrides, "none") == []
    _, overrides = captioned("pseudo:colours")
    assert overrides[0] == "mitigation.caption_machine.captioner=colours"
    assert fitting(overrides, "attacker_captions") == ["data.captions=pseudo:colours"]


@pytest.mark.parametrize("choice", ["said.csv", "own", "null", "file:", "pseudo:"])
def test_captions_of_nobody_are_refused(choice):
    with pytest.raises(MiaError, match=rf"captions={choice}: use file:<table> or pseudo:"):
        captioned(choice)


def test_cells_are_each_there_once_and_known():
    assert chosen_cells(["lora", "none", "lora"], [], []) == ["none", "lora"]
    own = ["caption_machine", "attacker_captions"]
    assert chosen_cells(["caption_machine"], own, []) == ["none", *own]
    with pytest.raises(MiaError, match=r"mitigation=lroa\. Did you mean 'lora'"):
        chosen_cells(["dp", "lroa"], [], [])


def test_options_of_a_mitigation_in_no_cell_are_refused():
    for override in ("mitigation.dp.clip=2", "+mitigation.dp.clip=2"):
        with pytest.raises(MiaError, match=r"which has none, lora: add mitigation=dp, or leave it"):
            chosen_cells(["lora"], [], ["seed=1", override])
    chosen_cells(["lora"], [], ["seed=1", "mitigation.lora.rank=3"])


def test_every_cell_is_planned_before_the_first_is_run(small_overrides, tmp_path):
    given = [*small_overrides, *CHOICES, f"paths.outputs={tmp_path}"]
    with pytest.raises(MiaError, match=r"^smp_lora, seed 1: .*finetune\.accumulate=1"):
        run([1], ["none", "smp_lora"], [*given, "finetune.accumulate=2"])
    assert not (tmp_path / "targets").exists()


@pytest.mark.long
def test_captions_that_are_still_to_be_written_are_no_obstacle(small_overrides, tmp_path):
    cells, own = captioned("pseudo:colours")
    given = [*small_overrides, *CHOICES, f"paths.outputs={tmp_path}", *own]
    plan_all([(0, name) for name in cells], given)
    assert not (tmp_path / "targets").exists()


def test_an_attacker_with_machine_captions_is_told_where_they_come_from():
    with pytest.raises(MiaError, match=r"say which with captions=file:<table> or captions=pseudo:"):
        chosen_cells(["attacker_captions"], [], [])
    cells, own = captioned("pseudo:colours")
    assert "attacker_captions" in chosen_cells(["attacker_captions"], cells, own)


def test_without_a_shadow_no_attacker_is_unaware_of_the_mitigation():
    assert len(commands(0, "lora", [])) == len(commands(0, "lora", ["calibration=shadow"])) == 2
    for override in ("calibration=split", "calibration=stratified", "calibration.kind=split"):
        assert len(commands(0, "lora", [override])) == 1


def test_a_study_without_utility_is_refused_before_anything_is_trained(small_overrides, tmp_path):
    given = [*small_overrides, *CHOICES, f"paths.outputs={tmp_path}", "eval.utility=false"]
    with pytest.raises(MiaError, match=r"^none, seed 0: eval\.utility=false leaves nothing"):
        run([0], ["none"], given)
    assert not (tmp_path / "targets").exists()
