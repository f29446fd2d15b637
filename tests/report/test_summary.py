"""What the page says first, and of each target."""

from __future__ import annotations

import pytest
from attack_nodes import NODES

from mia_bench.report.attachments import Training, Utility
from mia_bench.report.controls import families
from mia_bench.report.figures import targets_of
from mia_bench.report.load import read_outputs
from mia_bench.report.summary import _arxiv_of, arxiv_id, model_card, sentence, title


@pytest.fixture
def read(tmp_path, write_run):
    def written(*runs):
        for attack, shift, changes in runs:
            write_run(tmp_path, attack, shift, **changes)
        return read_outputs([tmp_path])[0]

    return written


def test_a_title_says_what_was_asked_of_what(read) -> None:
    runs = read(("clid", 1.0, {}), ("loss", 0.5, {}))
    assert title(runs) == "clid and loss against tiny fine-tuned on openmoji"


def test_a_sentence_names_the_best_attack_on_the_last_step(read) -> None:
    early = {"step": "100", "mitigation": {}}
    runs = read(("clid", 1.5, {}), ("loss", 0.5, {}), ("secmi", 4.0, early))
    said = sentence(runs, families(runs))
    assert said.startswith("Members can be told from non-members: clid does it best (AUC 0.")
    assert "at 1 % false positives it finds" in said


def test_a_sentence_claims_nothing_that_chance_could_do(read) -> None:
    runs = read(("clid", 0.0, {}))
    assert sentence(runs, families(runs)).startswith("No attack surely tells members")


def test_a_flagged_control_comes_first(read, quiet) -> None:
    runs = read(("clid", 1.5, {"controls": quiet(p_image=0.0005)}))
    assert "is no evidence of memorisation" in sentence(runs, families(runs))


def test_a_paper_is_that_of_the_module_in_this_package_alone(read) -> None:
    (run,) = read(("clid", 1.0, {}))
    assert arxiv_id(run) == "2405.14800"
    for path in ("other.clid.CLiD", "mia_bench.attacks.../../etc.X", "mia_bench.attacks.nope.X", 3):
        run.config["attack"]["clid"]["_target_"] = path
        assert arxiv_id(run) is None


@pytest.mark.parametrize("name", sorted(NODES))
def test_every_attack_of_the_package_has_a_paper(name) -> None:
    """Those in folders inside mia_bench/attacks too."""
    assert _arxiv_of(NODES[name]["_target_"]) is not None


def test_a_module_in_a_folder_is_found_and_none_outside() -> None:
    assert _arxiv_of("mia_bench.attacks.rectified_flow.rf_mc.RfMc") == "2603.13421"
    for path in (
        "mia_bench.attacks.CLiD",
        "mia_bench.attacks.rectified_flow",
        "mia_bench.attacks.",
    ):
        assert _arxiv_of(path) is None


def test_a_card_tells_data_epochs_recipe_and_losses(read) -> None:
    recipe = {"steps": 300, "batch_size": 32, "lr": 0.0005, "optimizer": "adamw", "accumulate": 1}
    (target,) = targets_of(read(("clid", 1.0, {"finetune": recipe})))
    training = Training((300.0,), {"val_member": (0.1,), "val_heldout": (0.2,)}, 53.3)
    facts = dict(model_card(target, training, Utility({"frechet": 3.0}, "", None)).facts)
    assert facts["fine-tuning"] == "300 steps, 53.3 epochs"
    assert facts["recipe"] == "adamw, batch size 32, lr 0.0005"
    assert (facts["loss on members"], facts["held-out loss"]) == ("0.1", "0.2")
    assert facts["mitigation"] == "no mitigation"
    assert facts["highest AUC"].endswith("(clid)")


def test_a_model_that_was_not_fine_tuned_says_so(read) -> None:
    (target,) = targets_of(read(("clid", 1.0, {"step": "base"})))
    assert dict(model_card(target, None, None).facts)["fine-tuning"] == "none, attacked as given"
    assert "step base" not in target.title
