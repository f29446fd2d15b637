"""How often an audit says yes where nothing was used, and where something was.

Two attacks see one common part of every picture and a part of their own, all standard normal; used
pictures lie `shift` higher in both. Without a shift every yes is a false alarm. The tests are those
of an audit: the permutation test of the combined score, CDI's set test with Holm's adjustment, the
rank test among variants. In `differing` sets the second set's files are smaller and its scores move
with that, though nothing was used: the audit must say that it cannot say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mia_bench.audit.findings import find, judge
from mia_bench.audit.scores import COMBINED
from mia_bench.audit.sets import SetDifference
from mia_bench.audit.variants import find_ranks
from mia_bench.audit.verdict import Answer
from mia_bench.metrics.inference.exact_permutation import permutation_test
from mia_bench.metrics.inference.panel_combination import combined_score
from mia_bench.utils.rng import keyed_generator

ATTACKS = ("one", "other")
DRAWS = 999  # labellings of one simulated audit
NAMES = ("first", "second")
DIFFERENCE = 1.5  # standard deviations by which files and scores of differing sets are apart


@dataclass(frozen=True)
class AuditSetting:
    """`second`: pictures of the second set, or with `variants` versions of each of the first."""

    first: int
    second: int
    shift: float = 0.0
    variants: bool = False
    differing: bool = False


@dataclass(frozen=True)
class AuditRates:
    """Of `audits`, how many end in a yes by each test, and how many cannot say."""

    audits: int
    yes: int
    set_test: int | None
    cannot_say: int
    smallest_leak: float | None


def simulated(setting: AuditSetting, seed: int) -> pd.DataFrame:
    """Scores as an audit has them."""
    rng = keyed_generator(seed, "audit", str(setting))
    versions = setting.second + 1 if setting.variants else 1
    n = setting.first * versions if setting.variants else setting.first + setting.second
    is_first = np.arange(n) % versions == 0 if setting.variants else np.arange(n) < setting.first
    picture = np.arange(n) // versions
    common = rng.normal(size=n) + (rng.normal(size=n)[picture] if setting.variants else 0)
    moved = DIFFERENCE * is_first if setting.differing else 0
    scores = {a: common + rng.normal(size=n) + setting.shift * is_first + moved for a in ATTACKS}
    names = [
        f"{p}.png" if first else f"{p}/{i}.png"
        for i, (p, first) in enumerate(zip(picture, is_first, strict=True))
    ]
    ids = [str(i) for i in range(n)]
    rows = pd.DataFrame({"sample_id": ids, "name": names, "is_first": is_first, "group": ids})
    return rows.assign(**scores, **{COMBINED: combined_score(list(scores.values()))})


def audit_rates(setting: AuditSetting, audits: int, alpha: float) -> AuditRates:
    """What `audits` simulated audits end in."""
    yes = set_test = cannot_say = 0
    leak = None
    for seed in range(audits):
        table = simulated(setting, seed)
        if setting.variants:
            findings, _ = find_ranks(table, ATTACKS, alpha)
        else:
            findings = find(table, ATTACKS, (), {}, alpha, seed, draws=DRAWS)
        differences = [_difference(table, seed)] if setting.differing else []
        verdict, _ = judge("data", findings, differences, NAMES, alpha, setting.variants)
        yes += verdict.answer is Answer.YES
        cannot_say += verdict.answer is Answer.CANNOT_SAY
        adjusted = [a.set_p_adjusted for a in findings.attacks if a.set_p_adjusted is not None]
        set_test += bool(adjusted) and min(adjusted) <= alpha
        leak = findings.smallest_leak
    return AuditRates(audits, yes, None if setting.variants else set_test, cannot_say, leak)


def _difference(table: pd.DataFrame, seed: int) -> SetDifference:
    """Sizes of the files, those of the second set smaller, tested as `audit.sets` does."""
    rng, is_first = keyed_generator(seed, "files"), table.is_first.to_numpy()
    sizes = rng.normal(size=len(table)) + DIFFERENCE * is_first
    least = min(permutation_test(s, is_first, seed, DRAWS).p_value for s in (sizes, -sizes))
    return SetDifference("size", "larger", "smaller", min(1.0, 2 * least))
