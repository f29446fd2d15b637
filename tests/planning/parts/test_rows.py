"""Rows of a plan by their roles."""

from __future__ import annotations


def test_members_and_others_are_interleaved(plan_of):
    """Rows come in sample-id order: no batch of a pass is all members."""
    rows = plan_of("attack=loss").runs[0].evaluation.sample_id
    assert list(rows) == sorted(rows)
