"""Secrets of the environment do not get into command lines or stored configurations."""

from __future__ import annotations

import pytest

from mia_bench.config.secrets import refuse_secrets, secret_in_values, secret_in_words
from mia_bench.utils.errors import MiaError

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", "hf_planted_for_a_test")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false_or_true")
    monkeypatch.setenv("SHORT_TOKEN", "tiny")


@pytest.mark.parametrize(
    "word",
    [
        f"logger.entity={KEY}",
        f"+x=[a,{KEY}]",
        "WANDB_API_KEY=some-other-value",
        "+logger.api_key=some-other-value",
        "++hf_token=x",
        "logger.password=x",
    ],
)
def test_a_command_line_with_a_secret_is_refused_without_quoting_it(word: str) -> None:
    with pytest.raises(MiaError, match="leave secrets in the environment") as error:
        refuse_secrets(["attack=loss", word])
    assert KEY not in str(error.value)
    assert "some-other-value" not in str(error.value)


def test_other_command_lines_pass() -> None:
    words = ["attack=clid", "logger.entity=team", "api_key=null", "model.path=a/token", "-m"]
    assert secret_in_words(words) is None


def test_values_of_a_configuration_are_searched() -> None:
    assert secret_in_values({"logger": {"entity": "team", "list": [1, None, "x"]}}) is None
    assert secret_in_values({"a": {"b": [f"x{KEY}"]}}) == "a.b holds the value of WANDB_API_KEY"


def test_an_interpolation_does_not_carry_one_into_a_run(experiment) -> None:
    with pytest.raises(MiaError, match=r"logger\.entity holds the value of HF_TOKEN"):
        experiment("logger.entity=${oc.env:HF_TOKEN}")
