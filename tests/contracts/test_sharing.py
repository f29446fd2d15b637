"""`attack=all` costs the union of the attacks' questions, not the sum: exact integers per image."""

from __future__ import annotations

from mia_bench.attacks import query_fields

# what each feature table of attack=all asks about an image with a long caption, on its own
ALONE = {
    "CLiD": [15, 15, 6],
    "Loss": [1],
    "MonteCarlo": [3],
    "NoiseAgg": [5, 5],
    "PIA": [2, 2],
    "SecMI": [16],
    "PFAMI": [20],
    "SimA": [1],
    "ReDiffuse": [20],
    "DRC": [40],
    "GSA": [10],
    "FreMIA": [1],
    "PIAF": [2],
    "SecMIF": [16],
    "CLiDF": [15],
    "ResidualBias": [10],
    "CaptionMismatch": [8],
}
SUM = 213
# CLiD's three tables have caption and null condition in common. Loss's question and MC's three are
# CLiD's; PFAMI's clean loss at t = 450 is too; ReDiffuse's first prediction at t = 100 is PFAMI's
# clean one. PIA and PIAN begin with one prediction. PIA+F, SecMI+F and CLiD+F ask what their hosts
# do, the bias what ReDiffuse does first; of the mismatch six captions are new, of FreMIA t = 500.
UNION = 149


def test_all_attacks_together_ask_each_question_once(
    experiment, random_target, random_batch, measure
):
    tables = {}
    for attack in experiment("attack=all").attacks.values():
        tables.setdefault((type(attack).__name__, str(query_fields(attack))), attack)
    batch, target = random_batch(2), random_target()
    asked: dict[str, list[int]] = {}
    for (name, _), attack in tables.items():
        alone = random_target()
        measure(attack, alone, batch)
        asked.setdefault(name, []).append(alone.queries["forward"] // len(batch))
        target.start_attack()
        attack.features(target, batch)
    assert asked == ALONE
    assert sum(sum(costs) for costs in asked.values()) == SUM
    assert target.queries["forward"] == UNION * len(batch)
    assert target.queries["asked"] == SUM * len(batch)
