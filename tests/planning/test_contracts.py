"""What attacks, models and sources must have, whoever wrote them."""

from __future__ import annotations

import pytest

from mia_bench.attacks.gsa import GSA
from mia_bench.attacks.loss import Loss
from mia_bench.planning.contracts import check_access
from mia_bench.utils.errors import MiaError


def test_an_attack_of_another_contract_names_what_it_lacks(experiment, tmp_path, monkeypatch):
    """As one from outside the package may be, written for an older version."""
    (tmp_path / "older.py").write_text(
        "class Older:\n"
        "    access, version, statistics, nfe = 2, 1, True, (1, 0)\n"
        "    def features(self, target, batch): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MiaError, match=r"attack.older: Older has no asks_at, score, which every"):
        experiment("attack=[]", "+attack={older: {_target_: older.Older}}")


def test_attacks_above_the_allowed_access_are_named():
    attacks = {"loss": Loss(), "gsa": GSA()}
    check_access("white_box", attacks)
    with pytest.raises(MiaError, match="grey_box does not allow gsa, which"):
        check_access("grey_box", attacks)
    with pytest.raises(MiaError, match=r"eval\.access=grey\. .*grey_box"):
        check_access("grey", attacks)


@pytest.mark.first_look
@pytest.mark.parametrize("name", ["ss_ei", "caption_machine", "caption_dropout", "caption_shuffle"])
def test_a_mitigation_about_captions_is_refused_for_a_model_without_text(name, experiment):
    with pytest.raises(MiaError, match=f"mitigation={name} is about what captions do"):
        experiment("experiment=ddpm_openmoji", f"mitigation={name}")
    experiment("experiment=ddpm_openmoji", "mitigation=flip")
