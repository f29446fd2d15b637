"""How the command is used and what it refuses; its work is tested in tests/studies."""

from __future__ import annotations

import pytest

from mia_bench.seeds import main


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code in (0, None)
    assert "The spread of every attack" in capsys.readouterr().out


def test_a_word_that_is_no_key_ends_with_one_message(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main([f"paths.outputs={tmp_path}", "attak=loss"])
    assert ended.value.code not in (0, None)
    message = capsys.readouterr().err
    assert "attak" in message
    assert "Traceback" not in message


@pytest.mark.parametrize("text", ["clid", "clid:", ":loss", "clid:loss:mc"])
def test_a_pair_is_two_attacks(text, capsys):
    with pytest.raises(SystemExit) as ended:
        main([f"compare={text}"])
    assert ended.value.code not in (0, None)
    assert f"compare={text} must be two attacks" in capsys.readouterr().err


def test_a_seed_that_is_given_twice_is_refused_before_anything_runs(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["0", "0", f"paths.outputs={tmp_path}"])
    assert ended.value.code not in (0, None)
    assert "seed 0 is given twice" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
