"""The one error that is meant for the person at the keyboard."""


class MiaError(Exception):
    """An error the user can act on; its message says what to do. Printed without a traceback."""
