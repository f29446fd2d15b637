"""key=value words: typos, doubles and empty values are refused with what to write instead."""

from __future__ import annotations

import pytest

from mia_bench.config.arguments import parse, run_command, training_seeds, whole_number
from mia_bench.config.command_spec import FLAG, Command, Option, Positional
from mia_bench.storage.command import current_command
from mia_bench.utils.errors import MiaError

COMMAND = Command(
    "score",
    "mia_bench.score",
    "`python -m mia_bench.score`: score files.",
    (
        Option("scores", "files", "FILE", repeated=True),
        Option("out", "folder", "FOLDER"),
        Option("seed", "number", "N", "7"),
        Option("dry_run", "write nothing", FLAG, "false"),
    ),
)
STUDY = Command(
    "study",
    "mia_bench.study",
    "`python -m mia_bench.study`: many runs.",
    (Option("small", "fewer rows", FLAG, "false"),),
    Positional("PART", "of the study", ("nulls", "runs"), ("nulls",)),
    overrides=True,
)


def test_values_come_back_in_order():
    arguments = parse(COMMAND, ["scores=a", "out=x=y", "scores=b"])
    assert arguments.several("scores") == ("a", "b")
    assert arguments.text("out") == "x=y"
    assert "out" in arguments
    assert "out" not in parse(COMMAND, [])
    assert parse(COMMAND, []).several("scores") == ()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scors=a"], "Did you mean 'scores'"),
        (["scores"], "write scores=..."),
        (["out="], "write out=..."),
        (["out=a", "out=b"], "given twice"),
        (["--scors", "a"], "no switch '--scors'. Did you mean '--scores'"),
        (["--dryrun"], "Did you mean '--dry-run'"),
        (["--hlep"], "Did you mean '--help'"),
        (["--out"], "write out=..."),
        (["-x"], "no switch '-x'"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, said):
    with pytest.raises(MiaError, match=said):
        parse(COMMAND, words)


def test_a_key_may_be_written_as_a_switch():
    arguments = parse(COMMAND, ["--scores", "a", "--scores=b", "--dry-run", "--seed", "-3"])
    assert arguments.several("scores") == ("a", "b")
    assert arguments.flag("dry_run")
    assert arguments.integer("seed") == -3
    assert not parse(COMMAND, ["--dry-run=false"]).flag("dry_run")


def test_words_and_overrides_are_told_apart():
    arguments = parse(STUDY, ["runs", "seed=1", "small=true", "~eval.x", "--override", "a.b=2"])
    assert arguments.words == ("runs",)
    assert arguments.overrides == ("seed=1", "~eval.x", "a.b=2")
    assert arguments.flag("small")
    assert parse(STUDY, []).words == ("nulls",)
    assert parse(STUDY, ["--finetune.lr=0.1"]).overrides == ("finetune.lr=0.1",)
    with pytest.raises(MiaError, match=r"no part 'null'\. Did you mean 'nulls'"):
        parse(STUDY, ["null"])


def test_words_that_are_needed_and_those_that_are_too_many():
    one = Command(
        "list", "m", "`x`: y.", positional=Positional("KIND", "", required=True, single=True)
    )
    with pytest.raises(MiaError, match="KIND is needed: mia-bench list KIND"):
        parse(one, [])
    with pytest.raises(MiaError, match="one KIND at a time: a, b"):
        parse(one, ["a", "b"])


def test_a_word_that_is_needed_is_said_with_the_choices():
    what = Positional("WHAT", "what to do", choices=("owner", "data"), required=True)
    with pytest.raises(MiaError, match=r"WHAT is needed \(owner, data\): mia-bench audit WHAT"):
        parse(Command("audit", "m", "`x`: y.", positional=what), [])


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (COMMAND, ["mine.csv"], "'mine.csv' stands alone: write scores=mine.csv"),
        (COMMAND, ["minecsv"], "there is no option 'minecsv'"),
        (COMMAND, ["dry_run"], "'dry_run' has no value: write dry_run=true"),
        (STUDY, ["small"], "'small' has no value: write small=true"),
        (STUDY, ["--device", "cuda"], "Did you mean trainer=gpu or trainer=cpu?"),
    ],
)
def test_a_word_without_its_key_or_value_is_told_how_it_is_written(command, words, said):
    with pytest.raises(MiaError) as caught:
        parse(command, words)
    assert said in str(caught.value)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["seed=3", "--help"]])
def test_help_names_every_key(words, capsys):
    with pytest.raises(SystemExit) as left:
        parse(COMMAND, words)
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert all(option.key in said for option in COMMAND.options)


def test_numbers_and_switches():
    assert parse(COMMAND, ["seed=3"]).integer("seed") == 3
    assert parse(COMMAND, []).integer("seed") == 7
    assert parse(COMMAND, ["dry_run=True"]).flag("dry_run")
    assert not parse(COMMAND, []).flag("dry_run")
    with pytest.raises(MiaError, match="seed=x must be a whole number"):
        parse(COMMAND, ["seed=x"]).integer("seed")
    with pytest.raises(MiaError, match=r"seed 1\.5 must be a whole number"):
        whole_number("1.5", "seed 1.5")
    with pytest.raises(MiaError, match="true or false"):
        parse(COMMAND, ["dry_run=ja"]).flag("dry_run")


@pytest.mark.parametrize(
    "name",
    ["status", "sync", "dashboard", "trajectory", "data", "report", "seeds", "mitigation_study"],
)
def test_every_command_says_how_it_is_used(name, run_python):
    assert f"python -m mia_bench.{name}" in run_python("-m", f"mia_bench.{name}", "--help").stdout


def test_a_command_is_recorded_while_it_runs(monkeypatch):
    ran = []
    run_command(COMMAND, lambda words: ran.append((words, current_command())), ["out=x"])
    monkeypatch.setattr("sys.argv", ["score.py", "out=y"])
    run_command(COMMAND, lambda words: ran.append((words, current_command())))
    assert ran == [
        (["out=x"], ["mia-bench", "score", "out=x"]),
        (["out=y"], ["mia-bench", "score", "out=y"]),
    ]


def test_an_error_is_one_line_and_a_bug_a_traceback(capsys):
    def fail(_):
        raise MiaError("do this")

    with pytest.raises(SystemExit) as left:
        run_command(COMMAND, fail, [])
    assert left.value.code == 1
    assert capsys.readouterr().err == "error: do this\n"

    def bug(_):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run_command(COMMAND, bug, [])


SEEDS = Command(
    "seeds",
    "mia_bench.seeds",
    "`python -m mia_bench.seeds`: seeds.",
    positional=Positional("SEED", "training seeds", default=("0", "1")),
    overrides=True,
)


def test_seeds_of_a_study_are_each_there_once():
    assert training_seeds(parse(SEEDS, ["3", "1", "finetune.seed=7"])) == [3, 1]
    assert training_seeds(parse(SEEDS, [])) == [0, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["0", "1", "00"], "seed 0 is given twice"),
        (["0", "one"], "seed one must be a whole number"),
        (["0", "1", "seed=5"], "seed=5 would make every run that of one seed"),
        (["0", "--seed=5"], "seed=5 would make every run that of one seed"),
    ],
)
def test_seeds_that_would_be_counted_wrongly_are_refused(words, said):
    with pytest.raises(MiaError, match=said):
        training_seeds(parse(SEEDS, words))


def test_a_number_below_the_least_is_refused():
    assert parse(COMMAND, ["seed=1"]).integer("seed", least=1) == 1
    with pytest.raises(MiaError, match="seed=0 must be 1 or more"):
        parse(COMMAND, ["seed=0"]).integer("seed", least=1)
