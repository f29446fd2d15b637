"""The page: measured and published stand apart, and nothing that is submitted can run."""

from __future__ import annotations

from mia_bench.evaluation.leaderboard_entries import Card, Entry
from mia_bench.report.leaderboard_page import grouped, render

HOSTILE = '"><script>alert(1)</script>'
FIGURE = {"value": 0.8, "lo": 0.75, "hi": 0.85}
METRICS = {"auroc": FIGURE, "tpr_at_fpr": {}, "n_members": 10, "n_nonmembers": 20}


def entry(**changes) -> Entry:
    card = {"attack": "clid", "target": "sd15", "data": "mscoco", "split": "list.json"} | changes
    return Entry("k", Card(**card), METRICS)


def test_only_scores_of_one_split_stand_in_one_table() -> None:
    groups = grouped([entry(), entry(attack="loss"), entry(split="other.json")])
    assert [len(same) for _, same in groups] == [2, 1]


def test_published_figures_stand_beside_measured_ones() -> None:
    source = "https://arxiv.org/abs/2405.14800"
    page = render([entry(published={"source": source, "figures": {"auroc": 0.962}})], [])
    assert "AUC, measured" in page
    assert "0.800 [0.75, 0.85]" in page
    assert "AUC 0.962" in page.split('<td class="num">')[-1]
    assert f'<a href="{source}"' in page


def test_cards_cannot_run_or_link_elsewhere() -> None:
    page = render(
        [entry(attack=HOSTILE, submitter=HOSTILE, paper="javascript:alert(1)")], [HOSTILE]
    )
    assert "<script" not in page
    assert 'href="javascript' not in page
    assert "default-src 'none'" in page
