"""conf/ is found, and composing costs no heavy import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mia_bench.config import compose
from mia_bench.config.compose import conf_dir
from mia_bench.utils.errors import MiaError

CONF = conf_dir()


def test_composing_does_not_import_torch(run_python):
    code = (
        "import sys; from mia_bench.config.compose import register_schema; register_schema();"
        "import mia_bench.config.error_messages, mia_bench.cli.run; print('torch' in sys.modules)"
    )
    assert run_python("-c", code).stdout.strip() == "False"


def test_conf_lies_beside_or_inside_the_package():
    assert (CONF / "config.yaml").is_file()
    assert CONF.parent in (Path(sys.modules["mia_bench"].__file__).parents[i] for i in (0, 1))


def test_a_package_without_conf_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(compose, "__file__", str(tmp_path / "package" / "config" / "compose.py"))
    with pytest.raises(MiaError, match=r"conf/ was not found.*Install the package again"):
        conf_dir()
