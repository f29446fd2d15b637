"""What the mitigation study knows of one mitigation under one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ATTACKS = ("clid", "loss", "pia", "sima", "secmi", "pfami", "noise_agg")


Entry = Mapping[str, float | None]


@dataclass(frozen=True)
class Outcome:
    """One mitigation under one seed: attacks by name, and utility.json."""

    auroc: dict[str, Entry]
    tpr: dict[str, Entry]
    change: dict[str, Entry]
    """AUC minus the AUC without mitigation, paired on the same rows."""
    utility: dict[str, Any]
    base: dict[str, Any]
    about: dict[str, Any]
    """Steps trained, the step chosen, epsilon, and what was dropped, as the manifest says."""
    asr: dict[str, Entry] = field(default_factory=dict)
    ignorant: dict[str, Entry] = field(default_factory=dict)
    """AUC of an attacker whose shadow is trained without the mitigation; the other one knows it."""
    ignorant_asr: dict[str, Entry] = field(default_factory=dict)
    ignorance: dict[str, Entry] = field(default_factory=dict)
    """AUC of the ignorant attacker minus that of the adaptive one, paired on the same rows."""
