"""The one error that is meant for the person at the keyboard."""

from __future__ import annotations

from collections.abc import Iterator

from mia_bench.utils.text import sanitise_lines


class MiaError(Exception):
    """An error the user can act on; its message says what to do. Printed without a traceback.

    Messages quote captions, file names and options: as text they are plain.
    """

    def __str__(self) -> str:
        return sanitise_lines(super().__str__())


class Missing(MiaError):  # noqa: N818
    """Data or weights that are not here; the message says what, where it goes and how to get it.

    `plan_only=true` prints it and goes on.
    """


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """`error`, then what it was raised from or during, back to the first: libraries wrap errors in
    types of their own."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__
