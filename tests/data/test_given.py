"""given.py on two folders: an audit of a model as it is, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from corpus import encode
from miniature import write
from PIL import Image

from mia_bench.data.given import Given
from mia_bench.execution.run import execute
from mia_bench.utils.errors import Missing


def unlike(i: int) -> Image.Image:
    """Pictures that are no near-duplicates of each other."""
    runs = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(runs).resize((64, 64), Image.Resampling.NEAREST)


def folders(root: Path, members: int, nonmembers: int) -> None:
    for folder, count, first in (("members", members, 0), ("nonmembers", nonmembers, 100)):
        lines = []
        for i in range(count):
            write(root / folder / f"{i}.png", encode(unlike(first + i), "PNG"))
            lines.append(json.dumps({"file_name": f"{i}.png", "text": f"{folder} number {i}"}))
        write(root / folder / "metadata.jsonl", "\n".join(lines))


def test_each_folder_is_a_pool_and_names_its_own_source(tmp_path: Path) -> None:
    folders(tmp_path, 2, 3)
    found = Given(str(tmp_path), name="mine").items().items
    assert sorted((item.pool, item.caption) for item in found) == [
        ("member", "members number 0"),
        ("member", "members number 1"),
        ("nonmember", "nonmembers number 0"),
        ("nonmember", "nonmembers number 1"),
        ("nonmember", "nonmembers number 2"),
    ]
    assert all(item.sample_id.startswith("mine:") for item in found)


def test_a_missing_folder_is_named_with_what_it_should_hold(tmp_path: Path) -> None:
    (tmp_path / "members").mkdir()
    with pytest.raises(Missing, match=r"nonmembers is not there.*metadata\.jsonl"):
        Given(str(tmp_path)).items()


def test_an_audit_scores_both_folders_and_trains_nothing(tmp_path, experiment):
    folders(tmp_path / "pictures", 60, 40)
    run = experiment(
        "data=given",
        f"data.source.root={tmp_path / 'pictures'}",
        "model.finetune=false",
        "calibration=split",
        "attack=loss",
        "eval.resamples=100",
        "eval.blind_rows=false",  # these captions tell which folder: 999 permutations each
        "trainer=cpu",
        f"paths.outputs={tmp_path / 'outputs'}",
    )
    ((_, metrics, folder),) = execute(run).results
    # half of the rows calibrate; each pool gives at most half of the 100 rows
    assert metrics["n_members"] + metrics["n_nonmembers"] in range(35, 56)
    assert (folder / "scores.parquet").is_file()
    assert not list((tmp_path / "outputs" / "targets").glob("*/steps"))
