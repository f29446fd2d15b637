"""Files that say who is a member: tables, lists of names, and arrays of positions.

A table (csv, tsv, json, jsonl, parquet) has a column `sample_id` or `name` (`file_name`, `image` or
`filename` will do, and so will names without their ending) and a column `role` (one of the five),
`is_member`, `member` or `split`, in the words of readers/membership.py. A JSON file may also hold
lists of names by such a word, or the word of each name. A list, .txt, holds one name a line: those
are the members, and every other row of the data is none. An .npz holds positions of members and of
non-members from 0, as the releases of attacks on DDPMs do: in the order in which the data set is
distributed, where it has one, or in that of names. A picture of which copies stand on both sides
is nobody's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mia_bench.data.readers.membership import (
    COLUMNS,
    MEMBER,
    NONMEMBER,
    VALIDATION,
    label_of,
)
from mia_bench.data.readers.tables import SUFFIXES, read_lines
from mia_bench.data.readers.text_file import decode_text, read_file, text_lines
from mia_bench.data.source import Listing
from mia_bench.data.split.roles import Role
from mia_bench.storage.files import regular_file
from mia_bench.utils.errors import MiaError

MAX_POSITIONS_BYTES = 256 << 20  # of all arrays: 33 million positions
NUMBERED = re.compile(r"(.*?)(\d{1,18})", re.ASCII | re.DOTALL)
"""A name without its ending: what stands before its number, and the number."""
NAMES = ("name", "file_name", "filename", "image", "file", "path")
ROLE_OF_LABEL = {
    MEMBER: Role.TARGET_MEMBER,
    NONMEMBER: Role.TARGET_NONMEMBER,
    VALIDATION: Role.VALIDATION,
}
ROLE_OF_ARRAY = {
    **dict.fromkeys(("mia_train_idxs", "train_idxs", "train_idx"), Role.TARGET_MEMBER),
    **dict.fromkeys(("mia_eval_idxs", "eval_idxs", "test_idxs", "test_idx"), Role.TARGET_NONMEMBER),
    **{str(role): role for role in Role},
}
"""Names of arrays of positions, besides the words of membership."""


def read_table(path: Path, key: str = "data.split=") -> list[dict[str, Any]]:
    """Rows of a table. Raises MiaError that names the line where it is damaged, and how."""
    try:
        regular_file(path)
        lines = list(read_lines(path))
        if not lines:
            raise ValueError("it holds no rows")
        for line in lines:
            if line.row is None:
                raise ValueError(f"line {line.number}: {line.problem}")
    except OSError as error:
        raise MiaError(f"{key}{path} cannot be read: {error.strerror}.") from error
    except (ValueError, MiaError) as error:
        raise MiaError(
            f"{key}{path} cannot be read: {error}. It must be {', '.join(SUFFIXES)}: a list of"
            " rows, or a manifest with 'rows'."
        ) from error
    return [dict(line.row) for line in lines if line.row is not None]


def published_rows(path: Path, listing: Listing) -> list[dict[str, Any]]:
    """Rows with a name or a sample id, and what says the role, whatever kind of file it is.

    Raises MiaError for a file that cannot be read, or whose positions fit no row.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _positions(path, listing)
    if suffix == ".txt":
        return _members(path)
    if suffix == ".json" and (rows := _json_rows(path)):
        return rows
    return read_table(path)


def role_of(row: Mapping[str, Any], path: Path, label: str) -> Role:
    """The role a row of the table gives.

    Args:
        label: the row, in messages.

    Raises MiaError for a row without role or membership, or with other words.
    """
    role = row.get("role")
    try:
        named = Role(str(role)) if role else None
    except ValueError as error:
        raise MiaError(f"data.split={path}: {error}. Roles: {', '.join(Role)}.") from error
    words = {name: label_of(row[name]) for name in COLUMNS if name in row}
    told = {name: ROLE_OF_LABEL[word] for name, word in words.items() if word}
    told |= {"role": named} if named in ROLE_OF_LABEL.values() and named else {}
    if len(set(told.values())) > 1:
        columns = ", ".join(f"{name}: {meant}" for name, meant in told.items())
        raise MiaError(
            f"data.split={path}: columns contradict each other about {label!r} ({columns}). Remove "
            "the one that is not meant."
        )
    if named is not None:
        return named
    if told and None not in words.values():
        return next(iter(told.values()))
    unknown = [f"its {name} is {str(row[name])[:40]!r}" for name in words if words[name] is None]
    but = f": {unknown[0]}" if unknown else ""
    raise MiaError(
        f"data.split={path}: {label!r} has neither role ({', '.join(Role)}) nor is_member (1 or 0),"
        f" member (member or nonmember) or split (train or test){but}."
    )


def _json_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON file with lists of names by their word ({"train": [...], "test": [...]}), or
    with the word of each name ({"a.png": 1}); none where it is a table."""
    try:
        content = json.loads(decode_text(read_file(path)))
    except (ValueError, RecursionError):
        return []  # the reader of tables says what is wrong
    if not isinstance(content, dict) or not content:
        return []
    lists = {key: value for key, value in content.items() if isinstance(value, list)}
    if len(lists) == len(content) and all(label_of(key) for key in lists):
        return [{"name": str(n), "is_member": word} for word, ns in lists.items() for n in ns]
    single = not any(isinstance(value, list | dict) for value in content.values())
    if single and all(label_of(value) for value in content.values()):
        return [{"name": name, "is_member": word} for name, word in content.items()]
    return []


def _members(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [line.strip() for line in text_lines(decode_text(read_file(path)))]
    except ValueError as error:
        raise MiaError(f"data.split={path} cannot be read: {error}.") from error
    names = [line for line in lines if line]
    if not names:
        raise MiaError(f"data.split={path} is empty: one name of a member a line is needed.")
    return [{"name": name, "is_member": 1} for name in names]


def _positions(path: Path, listing: Listing) -> list[dict[str, Any]]:
    arrays = _arrays(path)
    roles = {name: _role_of_array(name) for name in arrays}
    used = {name: role for name, role in roles.items() if role is not None}
    if not used:
        raise MiaError(
            f"data.split={path} has the arrays {', '.join(arrays) or 'none'}, and members or "
            f"nonmembers, or {', '.join(list(ROLE_OF_ARRAY)[:4])}, are needed."
        )
    order = listing.official or _order_of_names(path, listing)
    role_at: dict[int, Role] = {}
    for name, role in used.items():
        for i in _inside(arrays[name], len(order), f"data.split={path}: {name}"):
            if role_at.setdefault(i, role) is not role:
                raise MiaError(
                    f"data.split={path} gives position {i:,} two roles, {role_at[i]} and {role}: "
                    "correct the arrays."
                )
    return [{"sample_id": order[i], "role": str(role)} for i, role in role_at.items()]


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays in an .npz file, which may be anybody's: never unpickled, and bounded.

    Raises MiaError for what cannot be read, or unfolds to more than positions take.
    """
    from zipfile import ZipFile

    import numpy as np

    try:
        with regular_file(path).open("rb") as stream:  # numpy leaves one of its own open
            with ZipFile(stream) as archive:  # no member is read beyond the size it is said to have
                unfolded = sum(member.file_size for member in archive.infolist())
            if unfolded > MAX_POSITIONS_BYTES:
                raise ValueError(
                    f"it unfolds to {unfolded:,} bytes, at most {MAX_POSITIONS_BYTES:,} are read"
                )
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except Exception as error:  # what numpy and zipfile raise of a damaged file, MemoryError too
        raise MiaError(f"data.split={path} cannot be read: {error}. Fetch it again.") from error


def one_sided(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """The rows of positions without pictures of which copies have different roles, and how many
    such pictures there are."""
    roles: dict[str, set[str]] = {}
    for row in rows:
        roles.setdefault(row["sample_id"], set()).add(row["role"])
    kept = [row for row in rows if len(roles[row["sample_id"]]) == 1]
    return kept, sum(len(told) > 1 for told in roles.values())


def _order_of_names(path: Path, listing: Listing) -> tuple[str, ...]:
    """Sample ids in the order of names. Raises MiaError where positions may mean other rows."""
    if not listing.rows_in_order or not _numbered_in_order(listing):
        raise MiaError(
            f"data.split={path} counts positions, and the order of names in the data is not that of"
            " its rows or numbers (10.png comes before 2.png), so that positions say nothing"
            " certain: name the rows in a csv (name, is_member)."
        )
    lost = listing.duplicates + sum(skip.broken for skip in listing.skipped)
    if lost:
        raise MiaError(
            f"data.split={path} counts positions, and {lost:,} pictures of the data are copies of "
            "others or cannot be used, so that positions say nothing certain: name the rows in a "
            "csv (name, is_member), or remove those pictures."
        )
    return tuple(item.sample_id for item in listing.items)


def _numbered_in_order(listing: Listing) -> bool:
    """Names rise as the numbers that they end in do; true where they do not all end in one."""
    numbered = [
        NUMBERED.fullmatch(item.name.rpartition(".")[0] or item.name) for item in listing.items
    ]
    places = [(match[1], int(match[2])) for match in numbered if match is not None]
    return len(places) < len(numbered) or places == sorted(places)


def _role_of_array(name: str) -> Role | None:
    label = label_of(name)
    return ROLE_OF_LABEL[label] if label else ROLE_OF_ARRAY.get(name)


def _inside(positions: Any, rows: int, where: str) -> Sequence[int]:
    import numpy as np

    values = np.asarray(positions).ravel()
    if values.dtype == np.bool_ and len(values) == rows:
        values = np.flatnonzero(values)
    if not np.issubdtype(values.dtype, np.integer):
        raise MiaError(f"{where} holds {values.dtype}, and positions, from 0, are needed.")
    if len(set(values.tolist())) < len(values):
        raise MiaError(
            f"{where} names a position twice: it holds no positions. (A mask, one value a row, is "
            "an array of booleans.)"
        )
    if len(values) and (values.min() < 0 or values.max() >= rows):
        raise MiaError(
            f"{where} reaches from {values.min():,} to {values.max():,}, and the data has {rows:,} "
            "rows, from 0."
        )
    return [int(value) for value in values]
