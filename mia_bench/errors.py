"""The one error that is meant for the person at the keyboard."""


class MiaError(Exception):
    """An error the user can act on; its message says what to do. Printed without a traceback."""


class Missing(MiaError):  # noqa: N818
    """Data or weights that are not here; the message says what, where it goes and how to get it.

    `plan_only=true` prints it and goes on.
    """
