"""Ray is started again where it was too slow, joined where it runs, and every job is waited for.

Ray is an extra that is rarely installed: what it answers is given here by a module of its name.
With Ray itself, `make test-ray` runs a whole sweep.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from omegaconf import OmegaConf

from hydra_plugins.mia_bench_ray_launcher import given
from mia_bench.sweep import ray_tasks
from mia_bench.utils.errors import MiaError

SLOW = Exception("The current node timed out during startup. This could happen because some of")


class RayError(Exception):
    """As ray.exceptions.RayError."""


class Answers(ModuleType):
    """Ray, as far as a sweep uses it: each call of `init` raises the next of `problems`, each task
    ends as the next of `outcomes` says, or is carried out where none is left."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.__spec__ = ModuleSpec("ray", None)
        self.problems: list[Exception] = []
        self.outcomes: list[Any] = []
        self.starts: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.got: list[Any] = []
        self.running = False
        self.exceptions = SimpleNamespace(RayError=RayError)

    def is_initialized(self) -> bool:
        return self.running

    def init(self, **words: Any) -> None:
        self.starts.append(words)
        if self.problems:
            raise self.problems.pop(0)
        self.running = True

    def shutdown(self) -> None:
        self.running = False

    def remote(self, **words: Any) -> Any:
        self.asked.append(words)
        return lambda function: SimpleNamespace(
            remote=lambda task: (function, cloudpickle.dumps(task))
        )

    def get(self, reference: Any) -> Any:
        function, task = reference[0], cloudpickle.loads(reference[1])
        self.got.append(task)
        outcome = self.outcomes.pop(0) if self.outcomes else function(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def answers(monkeypatch) -> Answers:
    module = Answers()
    monkeypatch.setitem(sys.modules, "ray", module)
    return module


def test_a_slow_start_is_tried_again(answers, capsys):
    answers.problems = [SLOW, SLOW]
    ray_tasks.start_ray({"num_cpus": 2})
    assert answers.starts == [{"include_dashboard": False, "num_cpus": 2}] * 3
    said = capsys.readouterr().err
    assert "attempt 2 of 4" in said
    assert "attempt 3 of 4" in said
    ray_tasks.start_ray({"num_cpus": 2})
    assert len(answers.starts) == 3  # it runs


@pytest.mark.parametrize(
    ("problems", "words", "starts", "message"),
    [
        ([SLOW] * 9, {}, ray_tasks.STARTS, r"^Ray does not start: The current node timed out"),
        ([ValueError("num_gpus")], {}, 1, r"^Ray does not start: num_gpus$"),
        ([ConnectionError("closed")], {"address": "auto"}, 1, r"^no Ray at auto: closed\. `ray st"),
    ],
)
def test_a_start_that_cannot_succeed_says_why(answers, problems, words, starts, message):
    answers.problems = problems
    with pytest.raises(MiaError, match=message):
        ray_tasks.start_ray(words)
    assert len(answers.starts) == starts


def test_the_others_are_waited_for_when_a_job_is_lost(answers):
    answers.outcomes = ["first", RayError("its worker died"), "third"]
    with pytest.raises(RayError, match=r"its worker died"):
        ray_tasks.run_all([1, 2, 3], {"num_cpus": 1})
    assert answers.got == [1, 2, 3]
    assert answers.asked == [{"num_cpus": 1}]


def test_returns_come_in_the_order_of_jobs(answers):
    answers.outcomes = ["first", "second"]
    assert ray_tasks.run_all([1, 2], {}) == ["first", "second"]


def test_jobs_are_carried_out_from_what_is_sent(answers, typed, trained, small_overrides, tmp_path):
    """On models that are there: composed here, sent as bytes, run from them."""
    outputs = trained(tmp_path / "outputs")
    words = ["-m", *small_overrides, "attack=loss,sima", "eval.base_rows=[]", "eval.resamples=100"]
    words += ["eval.blind_rows=false", "hydra/launcher=ray_cluster", f"paths.outputs={outputs}"]
    done = typed(*words)
    assert done.returncode == 0, done.stderr
    assert answers.asked == [{"num_cpus": 2, "num_gpus": 0, "max_retries": 3}]
    assert [task.config.hydra.job.num for task in answers.got] == [0, 1]
    made = [path.parent.name for path in outputs.glob("runs/*/*/*/manifest.json")]
    assert sorted(name.partition("-")[0] for name in made) == ["loss", "sima"]


def test_words_that_are_null_are_left_to_ray():
    words = OmegaConf.create({"address": None, "num_cpus": 2, "nested": {"a": 1}})
    assert given(words) == {"num_cpus": 2, "nested": {"a": 1}}


def test_without_ray_its_extra_is_named_before_anything_is_planned(typed, monkeypatch, tmp_path):
    monkeypatch.setattr("hydra_plugins.mia_bench_ray_launcher.find_spec", lambda _: None)
    words = ["-m", "seed=0,1", "hydra/launcher=ray_cluster", f"paths.outputs={tmp_path}"]
    done = typed(*words)
    assert done.returncode == 1
    assert "Ray is not installed: pip install 'mia_bench[ray]'" in done.stderr
    assert not done.stdout
