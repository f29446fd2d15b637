"""Every refusal of the hub is one line with its way out; faults/test_hub_day.py meets them."""

from __future__ import annotations

import errno
import re
from importlib import import_module
from importlib.util import find_spec

import pytest
from huggingface_hub import errors

from mia_bench.config.hub_messages import hub_reason, refuse_full_disk
from mia_bench.utils.errors import MiaError

# what huggingface_hub asks with, in its newer and older versions
http = import_module("httpx2" if find_spec("httpx2") else "httpx")


def refusal(kind: type[Exception], status: int) -> Exception:
    request = http.Request("GET", "https://hub/api/models/a/b")
    return kind("Client Error.\nmore", response=http.Response(status, request=request))


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        (errors.GatedRepoError, 401, "gated: accept its conditions at"),
        (errors.RepositoryNotFoundError, 404, r"no repository of that name \(404\)"),
        (errors.RevisionNotFoundError, 404, "has no commit abc now; x=null takes the newest"),
        (errors.HfHubHTTPError, 429, "wait some minutes"),
        (errors.HfHubHTTPError, 401, r"no access \(401\): log in"),
        (errors.HfHubHTTPError, 502, r"out of order \(502\): run the same command again later"),
        (errors.HfHubHTTPError, 416, "^HfHubHTTPError: Client Error"),
    ],
)
def test_a_refusal_is_one_line_with_its_way_out(kind, status, words):
    text = hub_reason(refusal(kind, status), "a/b", "abc", "x=null")
    assert re.search(words, text), text
    assert "\n" not in text


def test_a_lost_connection_names_what_failed_and_goes_on():
    text = hub_reason(ConnectionError("peer closed connection\nmore"), "a/b")
    assert text.startswith("ConnectionError: peer closed connection; run the same command again")


def test_a_commit_without_an_option_promises_none():
    text = hub_reason(refusal(errors.RevisionNotFoundError, 404), "a/b", "abc")
    assert text.endswith("has no commit abc now")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_told_from_a_lost_network(number):
    with pytest.raises(MiaError, match=r"cannot write to the hub's cache .* point HF_HUB_CACHE"):
        refuse_full_disk(OSError(number, "?"))
    refuse_full_disk(OSError("no route"))
    refuse_full_disk(OSError(errno.ECONNRESET, "?"))
