"""The lines that are printed: what was left out, how sets differ, numbers with their meaning."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from mia_bench.audit.result import number_lines, preface, set_remarks, share_words
from mia_bench.audit.sets import SetDifference
from mia_bench.audit.verdict import Answer, AuditVerdict
from mia_bench.data.source import Skip
from mia_bench.metrics.inference.debiased_rate import UsedShare


def test_what_was_left_out_is_named(audited):
    skips = tuple(Skip(f"{i}.png", "the file is empty", broken=True) for i in range(9))
    sets = replace(audited.prepared.sets, overlaps=("a.png = b.png",), unreadable=skips)
    overlap, unread = set_remarks(sets, [], ("members", "non-members"))
    assert "a.png = b.png" in overlap
    assert "0.png (the file is empty)" in unread
    assert unread.endswith("and 4 more.")


def test_differences_are_warned_of_with_figures(audited):
    found = [SetDifference("size", "64x64", "32x32", 0.001), SetDifference("format", "a", "b", 0.5)]
    (line,) = set_remarks(audited.prepared.sets, found, ("members", "non-members"))
    assert line.startswith("WARNING: the sets differ in size: members 64x64; non-members 32x32")


def test_the_preface_names_model_pictures_captions_and_attacks(audited):
    lines = list(preface(audited.prepared))
    assert lines[0].startswith("Model: tiny. Without the base model")
    assert lines[1] == "Pictures: 10 members, 10 non-members."
    assert "own captions" in lines[2]
    assert "sima, loss" in lines[-1]


def test_numbers_say_what_they_are(audited):
    text = "\n".join(number_lines(audited))
    for words in (
        "permutation test",
        "false-alarm rate 0.01",
        "AUC",
        "control blind_image",
        "Holm",
    ):
        assert words in text


def test_a_share_is_told_to_a_data_owner_whose_answer_is_yes(audited):
    assert share_words(audited) is None
    request = replace(audited.prepared.request, kind="data")
    result = replace(
        audited,
        prepared=replace(audited.prepared, request=request),
        findings=replace(audited.findings, used=UsedShare(0.6, 0.41, 0.8, True)),
        verdict=AuditVerdict(Answer.YES, "Yes."),
    )
    words = share_words(result)
    assert words is not None
    assert "at least 41% of the pictures in question" in words
    assert "TPR 1" in words
    little = replace(
        result, findings=replace(result.findings, used=UsedShare(0.07, 0.0, 0.2, True))
    )
    words = share_words(little)
    assert words is not None
    assert "the 95 % lower bound is below 1% (estimate of the least share 7%)" in words
    assert "at least" not in words
    estimate = replace(result.findings, used=UsedShare(0.6, 0.41, 0.8, False))
    table = pd.DataFrame({"group": ["a", "b", "b"], "combined": [0.99, 0.0, 0.98]})
    known = replace(result.scores, known=table)
    words = share_words(replace(result, findings=estimate, scores=known))
    assert words is not None
    assert "60% [41%, 80%] of the pictures in question were used" in words
    assert "1 of 2 pictures known to have been used" in words
