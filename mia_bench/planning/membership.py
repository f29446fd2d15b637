"""Where it is known from who is a member: dealt by us, or told by folders, a file or a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mia_bench.data.split.roles import Role
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.config.schema import Data


def by_column(data: Data, source: Mapping[str, Any] | None, finetune: bool) -> bool:
    """A column of the data has to say who is a member.

    It does where data.source.member names one; and it must where nothing is fine-tuned here, whose
    members would be dealt by us, and neither folders nor a file tell.

    Args:
        source: the yaml of the source.
        finetune: the model is fine-tuned here.

    Raises:
        MiaError: a column and a file are both named.
    """
    named = (source or {}).get("member") is not None
    if named and data.split is not None:
        raise MiaError("data.split and data.source.member both say who is a member: leave one out.")
    told = data.split is not None or _told_by_pools(data.pools) or data.random_labels
    return named or not (finetune or told)


def _told_by_pools(pools: Mapping[str, str]) -> bool:
    """Members and non-members come from different parts of the data."""
    member, other = pools.get(Role.TARGET_MEMBER), pools.get(Role.TARGET_NONMEMBER)
    return member is not None and other is not None and member != other
