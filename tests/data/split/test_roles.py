"""roles.py: dealing groups to roles."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_bench.data.split.roles import Role, RoleSizes, assign
from mia_bench.utils.errors import MiaError

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


group_labels = st.lists(st.integers(0, 60), min_size=30, max_size=150).map(
    lambda numbers: [f"g{n}" for n in numbers]
)
seeds = st.integers(0, 2**32 - 1)
shares = st.lists(st.integers(1, 20), min_size=5, max_size=5).map(
    lambda parts: RoleSizes(*(part / sum(parts) for part in parts))
)


def try_assign(groups: list[str], sizes: RoleSizes, seed: int) -> list[Role | None]:
    try:
        return assign(groups, sizes, seed)
    except MiaError:  # a share of a few rows where every group is large
        return [None] * len(groups)


@pytest.mark.long
@given(group_labels, shares, seeds)
def test_groups_are_never_divided(groups: list[str], sizes: RoleSizes, seed: int) -> None:
    roles = defaultdict(set)
    for label, role in zip(groups, try_assign(groups, sizes, seed), strict=True):
        roles[label].add(role)
    assert all(len(found) == 1 for found in roles.values())


@pytest.mark.long
@given(group_labels, shares, seeds, st.randoms(use_true_random=False))
def test_roles_do_not_depend_on_the_order(
    groups: list[str], sizes: RoleSizes, seed: int, random: object
) -> None:
    shuffled = list(groups)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    straight = dict(zip(groups, try_assign(groups, sizes, seed), strict=True))
    assert dict(zip(shuffled, try_assign(shuffled, sizes, seed), strict=True)) == straight


@pytest.mark.long
@given(group_labels, shares, seeds)
def test_counts_miss_by_less_than_a_group(groups: list[str], sizes: RoleSizes, seed: int) -> None:
    largest = max(Counter(groups).values())
    roles = Counter(try_assign(groups, sizes, seed))
    for role, wanted in sizes.counts(len(groups)).items():
        assert roles[role] < wanted + largest


@given(st.integers(5, 200), shares, seeds)
def test_counts_are_exact_without_groups(n: int, sizes: RoleSizes, seed: int) -> None:
    roles = Counter(assign([f"g{i}" for i in range(n)], sizes, seed))
    assert {role: roles[role] for role in Role} == sizes.counts(n)


def test_groups_larger_than_what_is_left_come_as_near_as_they_can() -> None:
    tens = [f"g{i // 10}" for i in range(100)]
    roles = Counter(assign(tens, RoleSizes(16, 14, 20, 20), 0))
    assert [roles[role] for role in Role] == [20, 10, 20, 20, 30]
    with pytest.raises(MiaError, match=r"fits target_member \(4 rows requested, 10 groups"):
        assign(tens, RoleSizes(4, 20, 20, 20), 0)


def test_every_row_is_a_member_equally_often() -> None:
    """400 seeds, 40 of 200 rows: 80 ± 8 times each; large groups no more often than single rows."""
    groups = [f"g{i - i % 10 if i % 10 < 3 else i}" for i in range(200)]  # a tenth in threes
    hits: Counter[int] = Counter()
    for seed in range(400):
        roles = assign(groups, RoleSizes(40, 60, 30, 20, 10), seed)
        hits.update(i for i, role in enumerate(roles) if role == Role.TARGET_MEMBER)
    assert 40 < min(hits[i] for i in range(200)) <= max(hits.values()) < 120
    size = Counter(groups)
    for wanted in (1, 3):
        rows = [i for i, label in enumerate(groups) if size[label] == wanted]
        assert sum(hits[i] for i in rows) / len(rows) == pytest.approx(80, abs=4)


def test_shares_and_counts_can_be_mixed() -> None:
    sizes = RoleSizes(0.29, 10, 0.29, 10, None)
    assert sizes.counts(100) == {
        Role.TARGET_MEMBER: 29,
        Role.TARGET_NONMEMBER: 10,
        Role.SHADOW_MEMBER: 29,
        Role.SHADOW_NONMEMBER: 10,
    }
    assert RoleSizes(1, 0, 0, 0).counts(7)[Role.TARGET_MEMBER] == 1
    assert RoleSizes(1.0, 0, 0, 0).counts(7)[Role.TARGET_MEMBER] == 7


@pytest.mark.parametrize("bad", [-1, -0.1, 1.5, float("nan"), True, "5", None])
def test_impossible_sizes_are_refused(bad: object) -> None:
    sizes = {role.value: 0.1 for role in Role} | {"target_member": bad}
    with pytest.raises(MiaError, match=r"data\.sizes: size target_member="):
        RoleSizes.of(sizes)


def test_unknown_roles_are_refused_by_name() -> None:
    with pytest.raises(MiaError, match=r"'member'.*It needs: target_member, target_nonmember"):
        RoleSizes.of({"member": 5})
