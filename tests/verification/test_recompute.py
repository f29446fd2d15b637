"""Scores and figures that are recomputed: whatever was edited is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tampering import differing, edit_json, mend, one_folder, run_folder, verdict

from mia_bench.storage.feature_table import Table, read_table, write_table
from mia_bench.storage.files import read_json


def test_a_changed_score_is_named(outputs) -> None:
    folder = run_folder(outputs)
    path = folder / "scores.parquet"
    table = pd.read_parquet(path)
    table.loc[3, "score"] += 1.0
    table.to_parquet(path, index=False)
    found = differing(folder)
    assert found["files"] == "scores.parquet changed since it was written"
    assert table.sample_id[3] in found["scores"]
    assert "score of 1 rows" in found["scores"]
    mend(folder, "scores.parquet")
    assert set(differing(folder)) == {"scores", "metrics", "roc"}


def test_an_edited_figure_is_named(outputs) -> None:
    folder = run_folder(outputs, "loss")
    path = folder / "metrics.json"
    before = read_json(path)["auroc"]["value"]
    edit_json(path, lambda m: m["auroc"].update(value=0.99))
    mend(folder, "metrics.json")
    assert differing(folder) == {"metrics": f"auroc.value {before:.6g}, stored 0.99"}


@pytest.mark.first_look(2)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(nfe_forward=1.5), {"scores": "nfe_forward 15, stored 1.5"}),
        (lambda m: m["chosen"].update(alpha=0.123), {"scores": "chosen.alpha"}),
        (lambda m: m["tpr_at_fpr"]["0.01"].update(value=1.0), {"metrics": "tpr_at_fpr.0.01.value"}),
        (lambda m: m["asr"].update(lo=0.0), {"metrics": "asr.lo"}),
        (lambda m: m["flags"].append("control_base"), {"metrics": "flags"}),
        (lambda m: m["controls"]["base"].update(p_value=1.0), {"metrics": "controls.base.p_value"}),
        (lambda m: m["controls"]["blind_image"].update(auroc=0.5), {"controls": "blind_image"}),
        (lambda m: m.update(better=1), {"metrics": "better is no entry"}),
    ],
)
def test_every_figure_is_recomputed(outputs, change, said) -> None:
    folder = run_folder(outputs)
    edit_json(folder / "metrics.json", change)
    mend(folder, "metrics.json")
    found = differing(folder)
    assert set(found) == set(said)
    for name, words in said.items():
        assert words in found[name]


@pytest.mark.first_look
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["compared"]["best_by_calibration"].update(auroc=0.1), "compared.best_by_cal"),
        (lambda m: m["left_out"].update(map=9), "left_out.map None, stored 9"),
    ],
)
def test_what_the_ensemble_was_compared_with_is_recomputed(outputs, change, said) -> None:
    folder = run_folder(outputs, "ensemble")
    edit_json(folder / "metrics.json", change)
    mend(folder, "metrics.json")
    assert said in differing(folder)["scores"]


@pytest.mark.long
def test_an_ensemble_without_the_attacks_it_was_compared_with(outputs) -> None:
    folder = run_folder(outputs, "ensemble")
    gone = "clid_null-0123456789abcdef"  # of the same table as clid: compared with, not combined
    edit_json(folder / "manifest.json", lambda m: m["compared"].append(gone))
    found = verdict(folder)["scores"]
    assert found.state == "not checked"
    assert "compared with is not here any more" in found.message


@pytest.mark.long
def test_changed_features_with_a_mended_hash_give_other_scores(outputs) -> None:
    folder = run_folder(outputs, "loss")
    target = read_json(folder / "manifest.json")["models"]["target"]
    where = one_folder(outputs, f"features/{target}/*/loss-*")
    table = read_table(where / "features.parquet")
    first = next(iter(table.features))
    values = np.array(table.features[first])
    values[5] *= 3
    write_table(where / "features.parquet", Table(table.sample_id, {first: values}))
    mend(where, "features.parquet")
    found = differing(folder)
    assert set(found) == {"scores"}
    assert table.sample_id[5] in found["scores"]
