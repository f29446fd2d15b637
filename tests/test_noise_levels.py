"""How the command is used and what it refuses; its work is tested in tests/studies."""

from __future__ import annotations

import pytest

from mia_bench.noise_levels import main


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code in (0, None)
    assert "which noise level a model tells its members" in capsys.readouterr().out


def test_a_figure_of_another_kind_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["x", f"paths.outputs={tmp_path}", "figure=levels.txt"])
    assert ended.value.code not in (0, None)
    assert ".png, .svg, .pdf is needed" in capsys.readouterr().err
