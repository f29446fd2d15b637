"""Facts read from yaml and source are those the classes compute."""

from __future__ import annotations

import pytest
import yaml

from mia_bench.attacks import Access, Attack, NeedsCaptions
from mia_bench.cli.catalogue import GROUPS, groups_with, presets
from mia_bench.config.compose import conf_dir
from mia_bench.config.instantiate import build


def attack_of(name: str) -> Attack:
    node = yaml.safe_load((conf_dir() / "attack" / f"{name}.yaml").read_text())[name]
    return build(node, f"attack.{name}")


@pytest.mark.parametrize("kind", GROUPS)
def test_every_file_of_a_group_is_a_preset_with_a_sentence(kind):
    folder = conf_dir() / GROUPS[kind]
    found = presets(kind)
    assert [preset.name for preset in found] == sorted(path.stem for path in folder.glob("*.yaml"))
    for preset in found:
        assert len(preset.sentence) > 5, preset
        assert "arXiv" not in preset.sentence
        assert "NFE" not in preset.sentence


def test_attacks_say_what_their_classes_do():
    found = [preset for preset in presets("attacks") if preset.name != "all"]
    assert len(found) > 30
    for preset in found:
        attack = attack_of(preset.name)
        assert preset.facts["access"] == Access(attack.access).name.lower().replace("_", " ")
        assert preset.facts["NFE"] == " + ".join(str(n) for n in attack.nfe if n)
        needs = isinstance(attack, NeedsCaptions) and attack.needs_captions
        assert preset.facts["captions"] == ("needed" if needs else "")
        assert preset.facts["paper"], preset


def test_papers_are_those_of_what_is_listed():
    facts = {kind: {p.name: p.facts for p in presets(kind)} for kind in GROUPS}
    assert facts["attacks"]["clid"]["paper"] == "2405.14800"
    assert facts["attacks"]["loss5"]["paper"] == "2302.03262"  # of the module, not the preset
    assert facts["mitigations"]["dp"]["paper"] == "1607.00133"
    assert facts["data"]["laion_mi"]["paper"] == "2306.12983"
    assert facts["data"]["mscoco"]["paper"] == ""  # the one its comment names only used it
    assert facts["models"]["sdxl"]["pixels"] == "1024"
    assert facts["experiments"]["gap"]["model"] == ""
    assert facts["experiments"]["drc_faces"]["data"] == "celeba_hq"


def test_the_group_of_an_option():
    assert groups_with("clid") == ["attack"]
    assert groups_with("parquet") == ["data"]
    assert groups_with("nothing") == []
    assert groups_with("../attack/clid") == []
