"""Words that people try, and what they are told; every key, command and option told exists."""

from __future__ import annotations

import re

import pytest

from mia_bench.cli.dispatch import COMMANDS as KNOWN_COMMANDS
from mia_bench.config import guesses
from mia_bench.config.error_messages import group_options
from mia_bench.config.guesses import command_meant, key_meant, key_tried, option_meant
from mia_bench.config.schema import Root
from mia_bench.utils.text import folded

KNOWN = ["finetune", "finetune.steps", "finetune.batch_size", "eval", "eval.dtype", "model.dtype"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("dry_run", "Did you mean plan_only=true?"),
        ("dry-run", "Did you mean plan_only=true?"),
        ("DryRun", "Did you mean plan_only=true?"),
        ("trainer.device", "Did you mean trainer=gpu or trainer=cpu?"),
        ("batch_size", "eval.batch_size=N to score"),
        ("dtype", "Did you mean eval.dtype or model.dtype?"),
        ("finetune.stesp", "Did you mean 'finetune.steps'?"),
        ("finetune.zzz", "Known: finetune.batch_size, finetune.steps."),
        ("zzz.yyy", "Known: eval, finetune."),
        ("evall", "Did you mean 'eval'?"),
        ("zzz", "Known: eval, finetune."),
    ],
)
def test_a_key_that_is_not_there(key, said):
    assert said in key_meant(key, KNOWN)


def test_a_command_is_told_only_for_a_key_that_stands_alone():
    assert key_tried("members") == guesses.AUDIT
    assert key_tried("data.members") == ""


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("plan", "`mia-bench plan_only=true`"),
        ("results", "`mia-bench report`"),
        ("reprot", "'report'"),
        ("xyzzy", "Known: audit, "),
    ],
)
def test_a_word_that_is_no_command(word, said):
    assert said in command_meant(word, KNOWN_COMMANDS)


@pytest.mark.parametrize(
    ("group", "value", "said"),
    [
        ("model", "/my/model", "model=diffusers model.path=/my/model"),
        ("model", "owner/name", "model=diffusers model.path=owner/name"),
        ("model", "x.safetensors", "model=diffusers model.path=x.safetensors"),
        ("model", "SD-1.5", "'sd15'"),
        ("model", "stable-diffusion-v1-5", "'sd15'"),
        ("data", "../pictures", "data=imagefolder data.source.root=../pictures"),
        ("attack", "CLiD", "'clid'"),
        ("attack", "mine.py", "docs/extending/attack.md"),
        ("mitigation", "off", "'none'"),
        ("attack", "zzz", "Known: all, clid"),
    ],
)
def test_an_option_that_is_not_there(group, value, said):
    assert said in option_meant(group, value, group_options(group))


def test_a_folder_here_is_taken_for_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Known:" in option_meant("data", "holidays", ["openmoji"])
    (tmp_path / "holidays").mkdir()
    assert "data.source.root=holidays" in option_meant("data", "holidays", ["openmoji"])


@pytest.mark.parametrize("table", [guesses.KEYS, guesses.COMMANDS])
def test_no_word_is_told_two_things(table):
    words = [folded(word) for tried in table.values() for word in set(tried.split())]
    assert sorted({w for w in words if words.count(w) > 1 and not _twice_in_one(table, w)}) == []


def _twice_in_one(table, word):
    return sum(word in map(folded, tried.split()) for tried in table.values()) == 1


def test_what_is_told_exists():
    """Keys, groups' options and commands that the tables name are those of the program."""
    from mia_bench.planning.experiment import compose

    config = compose("attack=loss").resolved | {"experiment": None}
    for said in (*guesses.KEYS, *guesses.COMMANDS):
        for command in re.findall(r"mia-bench ([a-z][a-z-]*)(?![\w=-])", said):
            assert command in KNOWN_COMMANDS
        for key, value in re.findall(r"(?:^|[ `])([a-z_.]+)=?(\S*)", _configured(said)):
            node = config
            for name in key.split("."):
                if key == "data.source.root":  # of data=imagefolder
                    break
                assert name in node, (said, key)
                node = node[name]
            option = re.sub(r"\W+$", "", value)
            if key in guesses.LISTED and option.islower():
                assert option in group_options(key), said
    for group, option in guesses.OPTIONS:
        assert option in group_options(group)
    words = {folded(word) for tried in guesses.KEYS.values() for word in tried.split()}
    assert words.isdisjoint(map(folded, Root.__dataclass_fields__))
    commands = {folded(word) for tried in guesses.COMMANDS.values() for word in tried.split()}
    assert commands.isdisjoint(map(folded, KNOWN_COMMANDS))


def _configured(said):
    """The words of `said` that set keys of the configuration."""
    words = [] if set(KNOWN_COMMANDS) & set(said.replace("`", "").split()) else said.split()
    return " ".join(w for w in words if re.match(r"[a-z_]+(\.[a-z_]+)*=|[a-z]+\.[a-z_]+,?$", w))
