"""Which errors become one message, and which stay tracebacks because they are bugs."""

from __future__ import annotations

import errno
import warnings
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf.errors import OmegaConfBaseException

from mia_bench.config.compose import conf_dir, register_schema
from mia_bench.config.error_messages import explain
from mia_bench.utils.errors import MiaError


def composing(*overrides: str) -> Exception:
    register_schema()
    with (
        initialize_config_dir(str(conf_dir()), version_base="1.3"),
        pytest.raises(Exception) as caught,  # noqa: PT011 - its kind is Hydra's business
    ):
        compose("config", overrides=list(overrides))
    return caught.value


def reading(words: list[str], path: str) -> Exception:
    """What asking for the value at `path` raises, of a configuration that can be composed."""
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("config", overrides=words)
    with pytest.raises(OmegaConfBaseException) as caught:
        attrgetter(path)(config)
    return caught.value


def test_our_own_errors_speak_for_themselves():
    assert explain(MiaError("do this")) == "do this"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("attack=cild", "Did you mean 'clid'"),
        ("attack=[clid,los]", "Did you mean 'loss'"),
        ("mitigation=nome", "Did you mean 'none'"),
        ("attack=CLiD", "Did you mean 'clid'"),
        ("experiment=gaps", "Did you mean 'gap'"),
        ("experiment=zzz", "there is no experiment=zzz. Known: "),
        ("model=/my/model", "there is no model=/my/model. model= takes a name"),
        ("model=sd1.5", "Did you mean 'sd15'"),
        ("data=./pictures", "data=imagefolder data.source.root=./pictures"),
        ("dry_run=true", "Did you mean plan_only=true?"),
        ("steps=3", "Did you mean finetune.steps?"),
        ("lr=3", "Did you mean finetune.lr?"),
        ("seeds=1,2", "mia-bench -m seed=0,1,2"),
        ("data.path=/x", "data=imagefolder data.source.root=FOLDER"),
        ("sed=1", "Did you mean 'seed'"),
        ("eval.sead=1", "Did you mean 'eval.seed'"),
        ("finetune.lr=fast", "finetune.lr"),
        ("seed=abc", "seed=abc is not valid: Value 'abc' of type 'str' could not be converted"),
        ("attack=", "attack= has no value. Known: all, "),
        ("attack=clid,loss", "mia-bench -m attack=clid,loss"),
        ("paths.outputs=a=b", "paths.outputs='a=b'"),
        ("paths.outputs=é", "Quote the value for Hydra"),
    ],
)
def test_configuration_mistakes_name_the_nearest(override, message, monkeypatch):
    monkeypatch.setattr("sys.argv", ["mia_bench", override])
    assert message in explain(composing(override))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("attack=drc", "attack.drc.start=0.5"),
            "option of DRC that its yaml leaves at the default",
        ),
        (("attack=drc", "attack.drc.start=0.5"), "write +attack.drc.start=... with a plus"),
        (("attack=drc", "attack.drc.zzz=1"), "there is no configuration key"),
    ],
)
def test_an_option_that_the_yaml_leaves_out_takes_a_plus(words, message, monkeypatch):
    monkeypatch.setattr("sys.argv", ["mia_bench", *words])
    assert message in explain(composing(*words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("attack=ratio", "attack.ratio.tt=3"), "Did you mean 'attack.ratio.t'"),
        (("attack=ratoi",), "Did you mean 'ratio'"),
        (("ratoi=1",), "there is no configuration key 'ratoi'"),
    ],
)
def test_yamls_of_another_folder_are_known_by_name(words, message, monkeypatch, tmp_path):
    """What hydra.searchpath adds has the nearest word like everything else."""
    yaml = tmp_path / "attack" / "ratio.yaml"
    yaml.parent.mkdir()
    yaml.write_text("ratio: {_target_: mine.Ratio, t: 5}\n")
    words = (*words, f"hydra.searchpath=[file://{tmp_path}]")
    monkeypatch.setattr("sys.argv", ["mia_bench", *words])
    assert message in explain(composing(*words))


def test_a_needed_value_that_is_not_given_says_how_to_give_it(monkeypatch):
    monkeypatch.setattr("sys.argv", ["mia_bench", "model=diffusers"])
    message = explain(reading(["model=diffusers"], "model.path"))
    assert message == "model.path is needed and was not given: write model.path=..."


def test_words_of_a_script_do_not_hide_what_is_wrong(monkeypatch):
    """Where a script composes, the words of the process need not be ours."""
    monkeypatch.setattr("sys.argv", ["mine.py", "data=/my/pictures"])
    assert "Did you mean finetune.steps?" in explain(composing("steps=3"))


def test_a_full_disk_is_not_a_bug():
    explanation = explain(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert "/data/x" in explanation
    assert "paths.outputs" in explanation


@pytest.mark.parametrize("folder", ["/proc/1/x", "/proc/x", "/dev/null/x"])
def test_a_folder_that_cannot_be_made_is_not_a_bug(folder):
    with pytest.raises(OSError, match=folder) as caught:
        Path(folder).mkdir(parents=True)
    assert "paths.outputs" in explain(caught.value)


def test_a_reference_to_nothing_is_named(monkeypatch):
    monkeypatch.setattr("sys.argv", ["mia_bench", "paths.outputs=/a/${x}"])
    message = explain(reading(["paths.outputs='/a/${x}'"], "paths.outputs"))
    assert message.startswith("paths.outputs=/a/${x}: there is no configuration key 'x'")


def test_memory_that_is_full_is_not_a_bug():
    explanation = explain(
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")
    )
    assert "Tried to allocate 9 GiB. Lower model.chunk" in explanation


def test_bugs_keep_their_traceback():
    assert explain(ZeroDivisionError("a bug")) is None
    assert explain(OSError(errno.ENOENT, "No such file")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Could not find 'hydra/launcher/joblib'", "pip install 'mia_bench[joblib]'"),
        ("Could not find 'hydra/launcher/ray'", "ray_cluster"),
        ("Could not load 'hydra/launcher/submitit_slurm'.", "pip install 'mia_bench[slurm]'"),
        ("Could not find 'hydra/launcher/paralel'", "Did you mean 'parallel'?"),
    ],
)
def test_a_launcher_that_is_not_installed_names_its_extra(text, message):
    from hydra.errors import MissingConfigException

    assert message in explain(MissingConfigException(f"In 'config': {text}", "x"))


def test_a_search_path_that_is_not_there_is_named(monkeypatch, tmp_path):
    for folder, said in ((tmp_path / "cnf", True), (tmp_path, False)):
        words = ("experiment=try", f"hydra.searchpath=[file://{folder}]")
        monkeypatch.setattr("sys.argv", ["mia_bench", *words])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Hydra's own, which names no way out
            message = explain(composing(*words))
        assert message.startswith("there is no experiment=try. ")
        assert (f"hydra.searchpath names {folder}, which is no folder." in message) is said
