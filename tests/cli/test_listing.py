"""`mia-bench list`: one row a preset, columns dropped in their order, nothing wrapped."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest

from mia_bench.cli.catalogue import GROUPS, Preset, presets
from mia_bench.cli.dispatch import COMMANDS
from mia_bench.cli.listing import DROPPED_FIRST, as_csv, as_markdown, header, main, shortened, table

WIDTHS = (200, 120, 100, 92, 80, 60, 40)


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_fits_and_names_everything(kind, width):
    rows = presets(kind)
    lines = table(rows, width)
    assert len(lines) == 1 + len(rows)
    assert [line.split()[0] for line in lines[1:]] == [row.name for row in rows]
    if width >= 60:
        assert max(map(len, lines)) <= width


@pytest.mark.long
def test_columns_go_in_the_stated_order():
    shown = [set(table(presets("attacks"), width)[0].split()) for width in WIDTHS]
    order = [column for column in DROPPED_FIRST if column in header(presets("attacks"))]
    for columns in shown:
        gone = [column not in columns for column in order]
        assert gone == sorted(gone, reverse=True), columns
    assert set(order) <= shown[0]
    assert {"paper", "access", "NFE"} <= set(table(presets("attacks"), 80)[0].split())


def test_a_wide_table_has_the_whole_sentence():
    for row, line in zip(presets("models"), table(presets("models"), 300)[1:], strict=True):
        assert line.endswith(row.sentence)


@pytest.mark.parametrize(
    ("text", "room", "short"),
    [
        ("loss threshold", 14, "loss threshold"),
        ("loss threshold", 13, "loss..."),
        ("loss, threshold here", 12, "loss..."),
        ("loss over all", 12, "loss over..."),
        ("unbreakable", 8, "unbre..."),
    ],
)
def test_a_sentence_is_cut_between_words(text, room, short):
    assert shortened(text, room) == short
    assert len(short) <= room


def test_csv_and_markdown_have_everything():
    rows = [
        Preset("a", {"paper": "1", "x": ""}, "one | two, three"),
        Preset("b", {"paper": ""}, ""),
    ]
    assert list(csv.reader(io.StringIO(as_csv(rows)))) == [
        ["name", "paper", "what it is"],
        ["a", "1", "one | two, three"],
        ["b", "", ""],
    ]
    assert as_markdown(rows).splitlines()[2] == "| a | 1 | one \\| two, three |"


def test_every_command_is_listed(capsys):
    main(["commands"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [*COMMANDS]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "KIND is needed"),
        (["atacks"], "Did you mean 'attacks'"),
        (["models", "format=tabel"], "Did you mean 'table'"),
        (["models", "data"], "one KIND at a time"),
    ],
)
def test_mistakes_are_one_message(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 1
    assert said in capsys.readouterr().err


def test_a_list_loads_neither_torch_nor_hydra():
    code = (
        "import sys; from mia_bench.cli.dispatch import main; main(['list', 'attacks']);"
        "print(sorted({'torch', 'hydra', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
