"""What Hydra's grammar cannot take as it is: the argument is named, and a form that works."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from mia_bench.config.override_messages import explain_override, quoted


def value_of(argument: str) -> object:
    """What Hydra reads of an argument typed in a shell."""
    (word,) = shlex.split(argument)
    return OverridesParser.create().parse_override(word).value()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("/data/a=b", "="),
        ("/data/a#b", "#"),
        ("/data/a[b", "["),
        ("/data/a(b)", "( )"),
        ("/data/it's", "'"),
        ('/data/a"b', '"'),
        ("/data/Bücher", "ü"),
        ("/data/a{b}", "{ }"),
        ("C:\\data\\a'b\\", "'"),
    ],
)
def test_an_argument_that_cannot_be_read_is_named_with_one_that_can(value, named):
    message = explain_override(["seed=1", f"paths.outputs={value}", "plan_only=true"])
    assert message.startswith(f"paths.outputs={value} cannot be read")
    assert f"and here is {named} as well" in message
    _, _, remedy = message.partition("for the shell: ")
    assert value_of(remedy) == value


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_what_is_quoted_is_read_as_it_was(value):
    if "${" not in value:  # which is a reference, quoted or not
        assert value_of(quoted("paths.outputs", value)) == value


def test_several_values_are_a_sweep_or_a_list():
    message = explain_override(["attack=clid,loss"])
    assert "mia-bench -m attack=clid,loss;" in message
    assert message.endswith("'attack=[clid,loss]'")
    assert value_of(message.partition("is a list: ")[2]) == ["clid", "loss"]
    message = explain_override(["paths.outputs=/data/a,b"])
    assert "mia-bench -m paths.outputs=/data/a,b" in message
    assert value_of(message.partition("is quoted: ")[2]) == "/data/a,b"
    assert explain_override(["-m", "attack=clid,loss"]) is None


def test_arguments_that_are_fine_say_nothing():
    assert explain_override(["--cfg", "job", "attack=[clid,loss]", "~eval", "seed=1"]) is None


def test_a_home_that_no_shell_expanded_is_not_quoted_into_a_folder_of_that_name():
    message = explain_override(["paths.outputs=~/runs"])
    assert message.endswith("Write paths.outputs=$HOME/runs")
    assert explain_override(["paths.outputs=~ann/x"]).endswith("=the whole path")


def test_blanks_before_the_sign_and_lists_that_do_not_end_are_said():
    for word in (" attack=clid", "attack =clid"):
        assert explain_override([word]).endswith(": attack=clid")
    assert explain_override(["attack=[clid,loss"]).endswith("the [ is not closed by ]")
