"""Means since a validation and over all steps."""

from __future__ import annotations

import torch

from mia_bench.training.defence_records import DefenceRecords


def test_dropped_rows_by_hand():
    """Shares of 1/4, 1/2 and 1, the last of which leaves no row."""
    records = DefenceRecords(filters=True, proxy=False)
    records.rows_kept(torch.tensor([True, True, True, False]))
    records.rows_kept(torch.tensor([True, False, True, False]))
    assert records.since_validation() == {"dropped_share": 0.375}
    records.rows_kept(torch.zeros(4, dtype=torch.bool))
    assert records.since_validation() == {"dropped_share": 1.0}
    assert records.dropped_rows() == {"share": 0.583333, "steps_without_rows": 1}


def test_a_checkpoint_carries_them_on():
    records, resumed = (DefenceRecords(filters=True, proxy=True) for _ in range(2))
    records.rows_kept(torch.tensor([True, False]))
    records.proxy_was_right(0.75)
    resumed.load_state_dict(records.state_dict())
    for one in (records, resumed):
        one.rows_kept(torch.tensor([False, False]))
        one.proxy_was_right(0.25)
    assert resumed.dropped_rows() == records.dropped_rows()
    assert resumed.since_validation() == {"dropped_share": 0.75, "proxy_accuracy": 0.5}


def test_a_plain_fine_tune_records_nothing():
    records = DefenceRecords(filters=False, proxy=False)
    assert records.since_validation() == {}
    assert records.state_dict() == {}
