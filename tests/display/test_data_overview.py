"""overview.py and `python -m mia_bench.data`: what is printed is what is there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from album import make_album
from corpus import bad_folder, encode, picture
from miniature import write
from PIL import Image
from splits import split_of

from mia_bench.data.__main__ import inspect
from mia_bench.data.split.roles import Role
from mia_bench.display.data_overview import overview, text, write_report


@pytest.fixture
def command(small_overrides, tmp_path: Path) -> list[str]:
    root = make_album(tmp_path / "album", 70)
    write(root / "copy.png", (root / "p000.png").read_bytes())
    write(root / "copy.txt", "a copy")
    write(root / "=cmd|.png", encode(picture(1))[:50])
    write(root / "=cmd|.txt", "a formula for a name")
    where = ["data=imagefolder", f"data.source.root={root}", f"paths.outputs={tmp_path / 'out'}"]
    return [*small_overrides, *where]


def test_the_report(command, capsys) -> None:
    folder = inspect(command)
    facts = json.loads((folder / "overview.json").read_text())
    assert facts["rows"] == 70
    assert facts["duplicates"]["exact"] == 1
    assert facts["captions"]["distinct"] == 70
    assert facts["captions"]["words"]["median"] == 8
    assert facts["pictures"] == {
        "sampled": 70,
        "shorter_side": dict.fromkeys(("min", "p5", "median", "p95", "max"), 20),
        "longer_side": dict.fromkeys(("min", "p5", "median", "p95", "max"), 24),
    }
    assert facts["roles"]["target_member"] == 12
    assert facts["bad_input"] == 1
    said = capsys.readouterr().out
    for part in ("70 of 71 pairs can be used", "median 8 words", "shorter side median 20 px"):
        assert part in said
    assert folder.name.startswith("data-imagefolder-")
    sheets = {path.stem for path in folder.glob("*.png")}
    assert sheets == set(map(str, Role))
    with Image.open(folder / "target_member.png") as sheet:
        assert sheet.width > 1000
    rows = list(csv.DictReader((folder / "skipped.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["'=cmd|.png"]  # no formula for a spreadsheet


@pytest.mark.long
def test_bad_input_ends_in_a_report_too(small, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    bad_folder(root, tmp_path / "beside")
    sizes = [f"data.sizes.{role}={n}" for role, n in zip(Role, (4, 6, 4, 4, "null"), strict=True)]
    source = ("data=imagefolder", f"data.source.root={root}", "data.max_rmse=null")
    experiment = small(*source, *sizes, outputs=tmp_path)
    listing, split, _ = split_of(experiment, tmp_path)
    items = {item.sample_id: item for item in listing.items}
    facts = overview(experiment.source, split, items, 0)
    write_report(tmp_path / "report", facts, split, items, 0)
    assert facts["rows"] + len(split.skipped) > 70
    assert "(bad input)" in text(facts, split)
