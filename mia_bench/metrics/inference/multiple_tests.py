"""Several p-values read together: Holm's adjustment."""

from __future__ import annotations

from collections.abc import Mapping


def holm_adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p by name: at most a when Holm's procedure rejects at family-wise level a.

    With p_(1) <= ... <= p_(m): max over j <= i of min(1, (m - j + 1) p_(j)) (Holm 1979).
    """
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    adjusted, highest = {}, 0.0
    for rank, (name, p) in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - rank) * p))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}
