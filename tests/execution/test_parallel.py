"""Which models are served in parallel, with the bits of one thread alone, and no worker left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import gone
from same import computed

from mia_bench.execution import parallel, stages
from mia_bench.execution.parallel import divide, threads_each
from mia_bench.execution.stages import extract_features, train_models
from mia_bench.planning.make_plan import make_plan
from mia_bench.storage.command import recorded_as
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError
from mia_bench.utils.threads import threads

ENOUGH = {"target": parallel.MIN_EVALUATIONS, "shadow": parallel.MIN_EVALUATIONS, "base": 1}


def share(plan, costs=ENOUGH):
    experiment = plan.experiment
    return threads_each(costs, experiment.options.trainer, experiment.model.unet_bytes())


def note_work(used, _, kinds):
    """In place of a stage's work: which models, with how many threads."""
    used.append((list(kinds), torch.get_num_threads()))


@pytest.fixture
def two_threads():
    with threads(2):
        yield


@given(st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 99), min_size=1), st.data())
def test_models_are_dealt_whole_and_evenly(costs, data):
    hands = data.draw(st.integers(1, 8))
    parts = divide(costs, hands)
    assert sorted(kind for part in parts for kind in part) == sorted(costs)
    assert 0 < len(parts) <= hands
    assert all(parts)
    loads = [sum(costs[kind] for kind in part) for part in parts]
    assert max(loads) <= sum(costs.values()) / hands + max(costs.values())
    assert costs[parts[0][0]] == max(costs.values())


@pytest.fixture(scope="module")
def plan(small, tmp_path_factory):
    return make_plan(small(outputs=tmp_path_factory.mktemp("beside")))


@pytest.mark.usefixtures("two_threads")
def test_small_models_with_enough_to_do_share_the_threads(plan):
    assert share(plan) == 1
    assert (
        share(plan, {"target": parallel.MIN_EVALUATIONS, "shadow": parallel.MIN_EVALUATIONS - 1})
        is None
    )
    torch.set_num_threads(8)
    assert share(plan) == 2
    torch.set_num_threads(1)
    assert share(plan) is None


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    "changed",
    [{"parallel_models": False}, {"devices": 2}, {"num_nodes": 2}, {"accelerator": "gpu"}],
)
def test_options_that_serve_one_model_after_the_other(plan, changed):
    assert share(_with(plan, **changed)) is None


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("there", [torch.cuda, torch.backends.mps])
def test_what_has_an_accelerator_uses_it(plan, monkeypatch, there):
    assert share(_with(plan, accelerator="auto")) == 1
    monkeypatch.setattr(there, "is_available", lambda: True)
    assert share(_with(plan, accelerator="auto")) is None
    assert share(_with(plan, accelerator="cpu")) == 1


def _with(plan, **changed):
    options = plan.experiment.options
    options = replace(options, trainer=replace(options.trainer, **changed))
    return replace(plan, experiment=replace(plan.experiment, options=options))


@pytest.mark.usefixtures("two_threads")
def test_large_models_use_every_thread(plan, monkeypatch):
    monkeypatch.setattr(parallel, "SMALL_UNET_BYTES", plan.experiment.model.unet_bytes())
    assert share(plan) is None


@pytest.mark.usefixtures("two_threads")
def test_classes_of_the_running_script_stay_in_it(plan, monkeypatch):
    """No worker could import them: this process serves every model, with every thread."""
    monkeypatch.setattr(parallel, "MIN_EVALUATIONS", 0)
    monkeypatch.setattr(parallel, "_worker", None)
    for nodes in ({"mine": {"_target_": "__main__.Mine"}}, {"list": [{"_target_": "__main__.A"}]}):
        resolved = plan.experiment.resolved | {"mitigation": nodes}
        other = replace(plan, experiment=replace(plan.experiment, resolved=resolved))
        used = []
        parallel.run_stage(other, "train", partial(note_work, used))
        assert used == [(["target", "shadow"], 2)]


@pytest.mark.long
@pytest.mark.usefixtures("two_threads")
def test_the_bits_are_those_of_one_thread(small, tmp_path, monkeypatch):
    started = []

    def helper(plan, stage, kinds, share, line):
        started.append((stage, kinds, share))
        return start(plan, stage, kinds, share, line)

    start = parallel._worker
    monkeypatch.setattr(parallel, "_worker", helper)
    monkeypatch.setattr(parallel, "MIN_EVALUATIONS", 0)
    for name, number in (("beside", 2), ("alone", 1)):
        torch.set_num_threads(number)
        plan = make_plan(small("attack=[loss,pia]", outputs=tmp_path / name))
        train_models(plan)
        extract_features(plan)
        assert torch.get_num_threads() == number
        assert not plan.missing()
    assert started == [("train", ["shadow"], 1), ("extract", ["base"], 1)]
    one, other = (computed(tmp_path / name) for name in ("beside", "alone"))
    assert len(one) == 1 + 2 + 6  # the split, two models, two tables of each and of the base
    assert one == other


@pytest.mark.usefixtures("two_threads")
def test_what_is_left_of_a_plan_gets_the_share_of_the_whole(small, tmp_path, monkeypatch):
    """A killed run ends with the same bits only if it goes on with as many threads."""
    monkeypatch.setattr(parallel, "MIN_EVALUATIONS", 0)
    plan = make_plan(small("attack=loss", outputs=tmp_path))
    used = []

    monkeypatch.setattr(stages, "train", partial(note_work, used))
    monkeypatch.setattr(parallel, "_waiting", lambda *_: ["shadow"])
    train_models(plan)
    assert used == [(["shadow"], 1)]
    monkeypatch.setattr(parallel, "_waiting", lambda *_: [])
    train_models(plan)
    assert used[1:] == [([], 2)]


@pytest.mark.long
@pytest.mark.usefixtures("two_threads")
def test_what_a_worker_process_builds_records_the_command_of_the_run(small, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "MIN_EVALUATIONS", 0)
    plan = make_plan(small("attack=loss", outputs=tmp_path))
    command = ["mia-bench", "attack=loss", "seed=0"]
    with recorded_as(command):
        train_models(plan)
        extract_features(plan)
    kinds = ("targets/*/manifest.json", "features/*/*/*/manifest.json")
    manifests = [path for kind in kinds for path in tmp_path.glob(kind)]
    written = {path.parent: read_json(path)["command"] for path in manifests}
    assert {spec.folder for spec in plan.trained} < written.keys()  # the shadow is the worker's
    assert len(written) == 2 + 3
    assert all(recorded == command for recorded in written.values()), written


@pytest.mark.long
def test_a_helpers_error_is_that_of_the_run(plan):
    wrong = plan.experiment.resolved | {"attack": {"clid": {"_target_": "no.such.Attack"}}}
    broken = replace(plan, experiment=replace(plan.experiment, resolved=wrong))
    with (
        parallel._worker(broken, "train", ["shadow"], 1, 1) as helper,
        pytest.raises(MiaError, match=r"attack\.clid\._target_=no\.such\.Attack"),
    ):
        helper.wait()
    with (
        parallel._worker(plan, "paint", ["shadow"], 1, 1) as helper,
        pytest.raises(RuntimeError, match="KeyError: 'paint'"),
    ):
        helper.wait()


def test_a_killed_helper_is_named(plan):
    with parallel._worker(plan, "train", ["shadow"], 1, 1) as helper:
        helper.process.kill()
        with pytest.raises(
            MiaError, match=r"at work on the shadow ended with signal 9.*parallel_mod"
        ):
            helper.wait()


def test_a_helper_ends_with_the_work_it_was_started_for(small, tmp_path):
    plan = make_plan(small("finetune.steps=100000", outputs=tmp_path))
    began = time.monotonic()
    with (
        pytest.raises(MiaError, match="mine"),
        parallel._worker(plan, "train", ["shadow"], 1, 1) as helper,
    ):
        raise MiaError("mine")
    assert helper.process.returncode == 1
    assert time.monotonic() - began < parallel.WORKER_GRACE_SECONDS


@pytest.mark.long
def test_a_helper_ends_with_a_run_that_is_killed(small_overrides, tmp_path):
    """SIGKILL: nothing of the run gets to say goodbye."""
    words = [*small_overrides, "finetune.steps=100000", f"paths.outputs={tmp_path}"]
    script = (
        "import sys\n"
        "from mia_bench import compose\n"
        "from mia_bench.execution import parallel\n"
        "from mia_bench.planning.make_plan import make_plan\n"
        "plan = make_plan(compose(*sys.argv[1:]))\n"
        "with parallel._worker(plan, 'train', ['shadow'], 1, 1) as helper:\n"
        "    print(helper.process.pid, flush=True)\n"
        "    helper.wait()\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.stdout is not None
    with run.stdout:
        helper = int(run.stdout.readline())
    until = time.monotonic() + 60
    while not list(tmp_path.glob("targets/*.tmp")) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(tmp_path.glob("targets/*.tmp"))  # it trains
    run.send_signal(signal.SIGKILL)
    run.wait()
    while not gone(helper) and time.monotonic() < until:
        time.sleep(0.05)
    assert gone(helper)
