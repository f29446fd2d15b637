"""A plan that is fixed before a model is asked: what will be looked at, and how it is judged.

The plan names the pictures by the hashes of their files, the model by its weights' content where
they are here, the attacks with their options, alpha and every threshold. Its hash, deposited with
somebody else, shows afterwards that nothing was chosen by its result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mia_bench.audit.record import PLAN_HASH, identity, read_plan
from mia_bench.audit.request import CONTROL_LEVEL
from mia_bench.audit.result import PreparedAudit
from mia_bench.audit.share.used_share import CALL_FPR
from mia_bench.metrics.inference.panel_combination import RULE
from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

PLAN_VERSION = 1


def plan_of(prepared: PreparedAudit) -> dict[str, Any]:
    """The plan of an audit, without its hash."""
    sets = prepared.sets
    pools = {item.sample_id: item.pool for item in sets.items}
    files = sorted((pools[item.sample_id], item.sample_id, item.caption) for item in sets.items)
    known = prepared.known
    if known is not None:
        files += sorted(("known", item.sample_id, item.caption) for item in known.items)
    fixed = {name: value for name, value in identity(prepared).items() if name != "version"}
    return {
        "plan": PLAN_VERSION,
        **fixed,
        "pictures": [list(entry) for entry in files],
        "combination": RULE,
        "thresholds": {"controls": CONTROL_LEVEL, "single_pictures": CALL_FPR},
    }


def register(prepared: PreparedAudit, path: Path) -> str:
    """Write the plan; its hash. Raises MiaError where one is there already."""
    if path.exists():
        raise MiaError(f"{path} is there already: a plan is written once. Give another name.")
    plan = plan_of(prepared)
    hash_of_plan = hash_key(plan)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**plan, PLAN_HASH: hash_of_plan})
    return hash_of_plan


def check_plan(prepared: PreparedAudit, path: Path) -> str:
    """The hash of the plan at `path`, which this audit carries out.

    Raises:
        MiaError: it is not what was planned; names what differs.
    """
    registered, now = read_plan(path), plan_of(prepared)
    differing = [name for name in now if now[name] != registered.get(name)]
    if differing:
        raise MiaError(
            f"this is not the audit of {path}: {', '.join(differing)} differ from what was "
            "registered. Give the words of the plan, or leave plan= out, and the result will say "
            "that it was not registered."
        )
    return str(registered[PLAN_HASH])
