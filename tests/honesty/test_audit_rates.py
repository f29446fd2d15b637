"""Simulated audits keep their rate of false alarms, see leaks, and know what they cannot say."""

from __future__ import annotations

import pytest

from mia_bench.honesty.audit_rates import AuditSetting, audit_rates, simulated

AUDITS, ALPHA = 100, 0.05
MOST = 0.05 + 4 * (0.05 * 0.95 / AUDITS) ** 0.5  # four standard errors


@pytest.mark.long
@pytest.mark.parametrize(
    "setting", [AuditSetting(14, 16), AuditSetting(5, 9, variants=True)], ids=["sets", "variants"]
)
def test_where_nothing_was_used_few_say_yes(setting):
    rates = audit_rates(setting, AUDITS, ALPHA)
    assert rates.yes / AUDITS <= MOST
    if rates.set_test is not None:
        assert rates.set_test / AUDITS <= MOST


def test_a_leak_is_seen_more_often_with_more_pictures():
    few, many = (audit_rates(AuditSetting(n, n, 1.0), 20, ALPHA).yes for n in (6, 40))
    assert few < many
    assert many >= 18


def test_differing_sets_cannot_say():
    rates = audit_rates(AuditSetting(30, 30, differing=True), 20, ALPHA)
    assert rates.cannot_say >= 19
    assert rates.yes == 0


def test_variants_of_a_picture_share_what_the_picture_is_like():
    table = simulated(AuditSetting(3, 4, variants=True), 0)
    assert table.is_first.tolist() == [True, *[False] * 4] * 3
    assert table.name[0] == "0.png"
    assert table.name[1].startswith("0/")
