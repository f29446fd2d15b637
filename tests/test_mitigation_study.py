"""How the command is used and what it refuses; its work is tested in tests/studies."""

from __future__ import annotations

import pytest

from mia_bench.mitigation_study import main


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code in (0, None)
    assert "Mitigations compared" in capsys.readouterr().out


def test_a_word_that_is_no_key_ends_with_one_message(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main([f"paths.outputs={tmp_path}", "attak=loss"])
    assert ended.value.code not in (0, None)
    message = capsys.readouterr().err
    assert "attak" in message
    assert "Traceback" not in message


def test_a_mitigation_that_does_not_exist_is_named_at_once(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["0", "mitigation=lora", "mitigation=ss_ie", f"paths.outputs={tmp_path}"])
    assert ended.value.code not in (0, None)
    assert "mitigation=ss_ie. Did you mean 'ss_ei'?" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_seed_that_is_given_twice_is_refused_before_anything_runs(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["0", "0", f"paths.outputs={tmp_path}"])
    assert ended.value.code not in (0, None)
    assert "seed 0 is given twice" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
