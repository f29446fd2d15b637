"""What a stranger's configuration names is not imported, resolved or followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from mia_bench.utils.errors import MiaError
from mia_bench.verification.untrusted import NotHere, as_text, build_own, inside

TEXTS = ("${oc.env:HOME}", "\\${a}", "\\\\${a}", "a\\b", "${${x}}", "$", "$${a}", "a}")


@pytest.mark.parametrize("text", TEXTS)
def test_omegaconf_takes_interpolations_as_text(text: str) -> None:
    config = {"a": text, "b": [text, 1, {"c": text}], "d": None}
    made: Any = OmegaConf.to_container(OmegaConf.create(as_text(config)), resolve=True)
    assert made == config


@pytest.mark.parametrize("target", ["os.mkdir", "evil.Attack", "", "mia_bench.cli.run.main"])
def test_code_outside_of_the_package_s_open_groups_is_not_imported(target: str) -> None:
    with pytest.raises(NotHere, match="no code that a run names is imported"):
        build_own({"_target_": target}, "attack.x")


@pytest.mark.parametrize("name", ["clid.os.mkdir", "base.Access", "gone.Gone", "clid.dataclass"])
def test_only_dataclasses_of_this_package_are_built(name: str) -> None:
    with pytest.raises(MiaError, match=r"is not of this version|is none of this package's classes"):
        build_own({"_target_": f"mia_bench.attacks.{name}"}, "attack.x")


def test_names_do_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    assert inside(tmp_path, tmp_path / "a" / "b") == tmp_path / "a" / "b"
    for name in ("../secret", "a/../../b", "/etc", "link/etc"):
        with pytest.raises(MiaError, match="leads out of"):
            inside(tmp_path, tmp_path / name)
