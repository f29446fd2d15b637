"""Why the Hugging Face hub gave nothing, as a sentence with the way out."""

from __future__ import annotations

import errno
import os

from mia_bench.utils.errors import MiaError, with_causes

UNAUTHORISED, FORBIDDEN, TOO_MANY, SERVER_ERRORS = 401, 403, 429, 500
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
LOGIN = "log in (`hf auth login`, or HF_TOKEN in the environment)"


def hub_reason(error: Exception, repo: str, revision: str | None = None, newest: str = "") -> str:
    """What to say of `error`, raised while `repo` was fetched; one line.

    `newest`: the option that takes the newest commit in place of `revision`.
    """
    from huggingface_hub import constants, errors

    status = _status(error)
    if isinstance(error, errors.GatedRepoError):
        has_token = "the account that is logged in has no access" if _token() else LOGIN
        return f"gated: accept its conditions at {constants.ENDPOINT}/{repo}; {has_token}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"no repository of that name ({status}): look at its spelling, and where it is "
            f"private, {LOGIN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        way_out = f"; {newest} takes the newest, which makes results of its own" if newest else ""
        return f"the repository is there, and has no commit {revision or 'main'} now{way_out}"
    if status == TOO_MANY:
        return (
            f"too many requests from here (429): wait some minutes and run the same command, or "
            f"{LOGIN}, which allows more"
        )
    if status in (UNAUTHORISED, FORBIDDEN):
        return f"no access ({status}): {LOGIN}; a token that was revoked is refused like this too"
    if status is not None and status >= SERVER_ERRORS:
        return f"the hub is out of order ({status}): run the same command again later"
    if isinstance(error, errors.HfHubHTTPError):
        return _first_line(error)
    return f"{_first_line(error)}; run the same command again: files that are whole are kept"


def _status(error: BaseException) -> int | None:
    """The hub's reply that led to `error`: the client raises a lost file where a reply was bad."""
    responses = (getattr(at, "response", None) for at in with_causes(error))
    return next((int(r.status_code) for r in responses if r is not None), None)


def refuse_full_disk(error: BaseException) -> None:
    """Raise MiaError where it was the disk that stopped a download, not the network."""
    from huggingface_hub import constants

    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        raise MiaError(
            f"cannot write to the hub's cache {constants.HF_HUB_CACHE}: "
            f"{os.strerror(error.errno)}. Free some space, or point HF_HUB_CACHE at a folder that "
            "has some; files that are whole are kept."
        ) from error


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
