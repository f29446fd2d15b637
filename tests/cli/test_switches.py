"""`--key value` of a run, beside the flags of Hydra, which stay as they are."""

from __future__ import annotations

import pytest

from mia_bench.cli.switches import as_overrides
from mia_bench.utils.errors import MiaError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--attack", "clid", "seed=1"], ["attack=clid", "seed=1"]),
        (["--plan-only"], ["plan_only=true"]),
        (["--plan-only", "seed=1"], ["plan_only=true", "seed=1"]),
        (["--plan-only", "--debug", "-m"], ["plan_only=true", "debug=true", "-m"]),
        (["--finetune.lr=0.1"], ["finetune.lr=0.1"]),
        (["--paths.outputs", "/a b"], ["paths.outputs=/a b"]),
        (["--attack", "[clid,loss]"], ["attack=[clid,loss]"]),
        (["--cfg", "job", "--attack", "mc"], ["--cfg", "job", "attack=mc"]),
        (["--cfg=job"], ["--cfg=job"]),
        (["-c", "job", "-p", "data"], ["-c", "job", "-p", "data"]),
        (["-cd", "my/conf", "+new=1"], ["-cd", "my/conf", "+new=1"]),
        (["--info"], ["--info"]),
        (["--info", "searchpath"], ["--info", "searchpath"]),
        (["--multi", "seed=1,2", "~x"], ["--multi", "seed=1,2", "~x"]),
        (["--shell-completion", "install=bash"], ["--shell-completion", "install=bash"]),
        (["-m", "attack=a,b"], ["-m", "attack=a,b"]),
        (["a=1", "--config-dir", "x", "b=2"], ["a=1", "b=2", "--config-dir", "x"]),
        (["-m", "a=1", "-cd", "x", "~b"], ["-m", "a=1", "~b", "-cd", "x"]),
    ],
)
def test_words_as_hydra_takes_them(words, expected):
    assert as_overrides(words) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-v"], "there is no flag '-v'. Settings are KEY=VALUE"),
        (["attack"], "'attack' has no value: write attack=..."),
        (["seed=1", "CLiD"], "'CLiD' has no value: write attack=clid"),
    ],
)
def test_a_word_that_is_neither_ends_with_the_way_out(words, said):
    with pytest.raises(MiaError) as caught:
        as_overrides(words)
    assert said in str(caught.value)
