"""The pictures of the page are those of the set, in their order."""

from __future__ import annotations

from mia_bench.audit.findings import exposure
from mia_bench.audit.page.pictures import shown_pictures


def test_the_pictures_are_those_of_the_set(audited):
    most, least = shown_pictures(audited)
    names = [p.name for p in (*most, *reversed(least))]
    rows = exposure(audited.scores.table)
    assert names == rows.name.tolist()
    assert all(p.picture.startswith("data:image/jpeg;base64,") for p in most)
