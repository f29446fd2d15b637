"""Secrets of the environment are blotted out of messages."""

from __future__ import annotations

import pytest

from mia_bench.utils.errors import MiaError
from mia_bench.utils.redaction import environment_secrets, redact, secrets_read_once, without_places
from mia_bench.utils.text import sanitise

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", "hf_planted_for_a_test")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false_or_true")
    monkeypatch.setenv("SHORT_TOKEN", "tiny")


def test_secrets_are_known_by_the_names_of_their_variables() -> None:
    assert environment_secrets()["WANDB_API_KEY"] == KEY
    assert "HF_TOKEN" in environment_secrets()
    assert not {"TOKENIZERS_PARALLELISM", "SHORT_TOKEN"} & set(environment_secrets())


def test_messages_are_blotted() -> None:
    assert redact(f"a {KEY} b") == "a *** b"
    assert KEY not in sanitise(f"x{KEY}")
    assert KEY not in str(MiaError(f"no access with {KEY}"))


def test_a_long_document_looks_into_the_environment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with secrets_read_once():
        monkeypatch.delenv("WANDB_API_KEY")
        assert redact(f"a {KEY} b") == "a *** b"
    assert redact(f"a {KEY} b") == f"a {KEY} b"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/ada/models/mine", ".../mine"),
        ("/data/ada/pictures/", ".../pictures"),
        ("file:/home/ada/said.csv", "file:.../said.csv"),
        ("pseudo:~ada/captioner", "pseudo:.../captioner"),
        ("~/outputs", ".../outputs"),
        ("C:\\Users\\ada\\mine", ".../mine"),
        ("\\\\host\\share\\ada", ".../ada"),
        ("/home/ada", "..."),
        ("~ada", "..."),
        ("C:\\Users\\ada", "..."),
        ("/Users/ada/", "..."),
        ("/", "..."),
        ("openai/clip", "openai/clip"),
        ("outputs", "outputs"),
        ("bundled:tiny", "bundled:tiny"),
        ("https://example.org/a", "https://example.org/a"),
        ("a caption with / in it", "a caption with / in it"),
    ],
)
def test_of_a_whole_path_the_last_part_is_left(text, left):
    assert without_places({"a": [text, 1, None]}) == {"a": [left, 1, None]}
