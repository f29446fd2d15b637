"""roles.py: dealing groups to roles. What holds without pools is tested with the manifest."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from mia_bench.data.roles import Role, RoleSizes, assign
from mia_bench.errors import MiaError

SIZES = RoleSizes(0.2, 0.2, 0.2, 0.2, 0.1)
POOLS = {
    Role.TARGET_MEMBER: "a",
    Role.TARGET_NONMEMBER: "a",
    Role.SHADOW_MEMBER: "b",
    Role.SHADOW_NONMEMBER: "b",
}
rows = st.lists(st.tuples(st.integers(0, 80), st.sampled_from("ab")), min_size=120, max_size=200)


@settings(max_examples=30)
@given(rows, st.integers(0, 2**32 - 1))
def test_roles_take_only_groups_that_lie_in_their_pool(pairs, seed: int) -> None:
    groups = [f"g{number}" for number, _ in pairs]
    pools = [pool for _, pool in pairs]
    inside: dict[str, set[str]] = {}
    for group, pool in zip(groups, pools, strict=True):
        inside.setdefault(group, set()).add(pool)
    try:
        roles = assign(groups, SIZES, seed, pools, POOLS)
    except MiaError:  # no group fits: all of a pool were taken
        return
    for group, role in zip(groups, roles, strict=True):
        if role in POOLS:
            assert inside[group] == {POOLS[role]}


def test_one_pool_for_all_is_no_pool() -> None:
    groups = [f"g{i // 2}" for i in range(100)]
    plain = assign(groups, SIZES, 3)
    assert assign(groups, SIZES, 3, ["a"] * 100, dict.fromkeys(Role, "a")) == plain


def test_pools_alone_restrict_nothing() -> None:
    groups = [f"g{i}" for i in range(100)]
    assert assign(groups, SIZES, 3, ["ab"[i % 2] for i in range(100)]) == assign(groups, SIZES, 3)


def test_a_given_split_is_kept_whole() -> None:
    """Members and non-members come from pools of their own, as in LAION-mi."""
    pools = ["member"] * 30 + ["nonmember"] * 70
    allowed = {Role.TARGET_MEMBER: "member", Role.TARGET_NONMEMBER: "nonmember"}
    roles = assign([f"g{i}" for i in range(100)], RoleSizes(30, 70, 0, 0, 0), 1, pools, allowed)
    assert Counter(roles[:30]) == {Role.TARGET_MEMBER: 30}
    assert Counter(roles[30:]) == {Role.TARGET_NONMEMBER: 70}
