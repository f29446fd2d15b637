"""`python -m mia_bench.data`: the words it takes and the split it exports."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from album import make_album
from corpus import encode, picture
from miniature import write

from mia_bench.data.__main__ import inspect, main
from mia_bench.utils.errors import MiaError


@pytest.fixture
def command(small_overrides, tmp_path: Path) -> list[str]:
    root = make_album(tmp_path / "album", 70)
    write(root / "copy.png", (root / "p000.png").read_bytes())
    write(root / "copy.txt", "a copy")
    write(root / "=cmd|.png", encode(picture(1))[:50])
    write(root / "=cmd|.txt", "a formula for a name")
    where = ["data=imagefolder", f"data.source.root={root}", f"paths.outputs={tmp_path / 'out'}"]
    return [*small_overrides, *where]


@pytest.mark.long
def test_a_split_is_exported_once(command, tmp_path: Path) -> None:
    target = tmp_path / "deep/split.json"
    inspect(command, target)
    assert len(json.loads(target.read_text())["rows"]) == 70
    with pytest.raises(MiaError, match=r"split\.json exists"):
        inspect(command, target)


def test_the_command_line(command, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["data", *command, f"export={tmp_path / 's.json'}"])
    main()
    assert (tmp_path / "s.json").is_file()
    for words, message in (
        (["data=nothing"], "there is no data=nothing"),
        (["-m", "data=openmoji"], "there is no switch '-m'"),
        ([*command, "data.sizes.target_member=99"], "the split needs"),
    ):
        monkeypatch.setattr(sys, "argv", ["data", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 1
        assert f"error: {message}" in capsys.readouterr().err
