"""Files of others get our metrics; whatever is wrong with them is said in one line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from score_samples import score_rows as rows
from score_samples import write_scores

from mia_bench.evaluation.score_files.measuring import compare, evaluate_file
from mia_bench.evaluation.score_files.reading import read_scores
from mia_bench.evaluation.score_table import score_table_metrics
from mia_bench.metrics.summary import paired_difference
from mia_bench.utils.errors import MiaError


def calibrated_on_itself(frame: pd.DataFrame) -> pd.DataFrame:
    """Every row once to fix thresholds and once to be judged by them."""
    return pd.concat([frame.assign(calibration=c) for c in (True, False)], ignore_index=True)


@pytest.fixture
def write(tmp_path):
    return lambda frame, name="mine.csv": write_scores(tmp_path / name, frame)


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_every_format_gives_the_same_metrics(write, kind):
    frame = rows()
    found = evaluate_file(write(frame, f"mine.{kind}"), 0, 200)
    ours = frame.rename(columns={"id": "sample_id", "label": "is_member"}).assign(
        group=frame.id, calibration=False, is_member=frame.label == 1
    )
    assert found.measured.metrics == score_table_metrics(ours, {}, 0, 200).metrics
    assert found.table.sample_id[7] == "007"


def test_columns_go_by_several_names_and_words(write):
    words = np.where(rows().label == 1, "Member", "nonmember")
    frame = rows().assign(label=words).rename(columns={"id": "Sample_ID", "label": "membership"})
    table = read_scores(write(frame))
    assert table.is_member.tolist() == (rows().label == 1).tolist()
    assert table.sample_id.tolist() == rows().id.tolist()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_without_a_group_are_groups_of_their_own(write, kind):
    table = rows(3).assign(group=["a", "a", None, None, "b", "b"])
    found = read_scores(write(table, f"mine.{kind}"))
    assert found.group.tolist() == ["a", "a", "002", "003", "b", "b"]


def test_groups_and_calibration_rows_are_used(write):
    frame = rows().assign(group=rows().index // 4 * 2 + rows().label, calibration=rows().index < 60)
    found = evaluate_file(write(frame), 0, 200).measured
    assert len(found.rows) == 100
    assert found.rows.group.nunique() == 50
    assert found.metrics["asr"]["value"] > 0.6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda f: f.rename(columns={"score": "loss"}),
            r"no column score .*columns: id, label, loss",
        ),
        (lambda f: f.assign(score=["nan", *f.score[1:]]), "1 of 160 scores .* 'nan' in row 0"),
        (lambda f: f.assign(score=["", *f.score[1:]]), "1 of 160 scores"),
        (lambda f: f.assign(score=["inf", *f.score[1:]]), "1 of 160 scores"),
        (lambda f: f.assign(label=1), "no non-members"),
        (lambda f: f.assign(label=[-1, *f.label[1:]]), "-1.*write 1 and 0"),
        (lambda f: f.assign(label=["maybe", *f.label[1:]]), "'maybe' in 1 rows"),
        (lambda f: f.assign(id="same"), "159 sample ids occur twice"),
        (lambda f: f.assign(id=["", *f.id[1:]]), "1 rows have no sample id"),
        (lambda f: f.assign(group="all"), "hold members and non-members"),
        (lambda f: f.assign(member=f.label), "label, member could all be is_member"),
        (lambda f: f.iloc[:0], "no rows"),
        (calibrated_on_itself, "160 images are among the calibration rows and among the eval"),
        (
            lambda f: f.assign(group=f.index // 4 * 2 + f.label, calibration=f.index < 62),
            "2 groups of near-duplicates are among the calibration rows",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(write, change, said):
    path = write(change(rows()))
    with pytest.raises(MiaError, match=said) as error:
        evaluate_file(path)
    assert str(path) in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MiaError, match="is not a file"):
        read_scores(tmp_path / "none.csv")
    odd = tmp_path / "mine.txt"
    odd.write_text("x")
    with pytest.raises(MiaError, match="parquet or"):
        read_scores(odd)
    broken = tmp_path / "mine.parquet"
    broken.write_bytes(b"no parquet at all")
    with pytest.raises(MiaError, match="cannot read"):
        read_scores(broken)
    broken = tmp_path / "mine.json"
    broken.write_text("{")
    with pytest.raises(MiaError, match="cannot read"):
        read_scores(broken)


def test_a_comparison_is_the_paired_bootstrap_on_shared_images(write):
    strong, weak = rows(), rows().assign(score=rows(seed=1, shift=0.2).score)
    a = evaluate_file(write(strong, "strong.csv"), 0, 200)
    b = evaluate_file(write(weak.sample(frac=0.9, random_state=0), "weak.csv"), 0, 200)
    found = compare(a, b, 0, 200)
    assert found["rows"] == 144
    assert found["rows_left_out"] == 16
    assert found["auroc"]["hi"] < 0
    both = strong.set_index("id").loc[[i for i in strong.id if i in set(b.table.sample_id)]]
    other = b.table.set_index("sample_id").loc[both.index]
    expected = paired_difference(other.score, both.score, both.label == 1, list(both.index), 0, 200)
    assert found["auroc"] == expected["auroc"]


def test_files_that_cannot_be_compared(write):
    a = evaluate_file(write(rows(), "a.csv"), 0, 200)
    other = rows().assign(id="other" + rows().id)
    with pytest.raises(MiaError, match=r"share no sample id.*one is '.*', of the other 'other"):
        compare(a, evaluate_file(write(other, "b.csv"), 0, 200), 0, 200)
    swapped = rows().assign(label=1 - rows().label)
    with pytest.raises(MiaError, match="disagree on the membership of 160 images"):
        compare(a, evaluate_file(write(swapped, "c.csv"), 0, 200), 0, 200)
