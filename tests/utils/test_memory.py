"""Memory between jobs: what finished work held is free."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from mia_bench.execution.stages import train_models
from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.memory import (
    forget_peak,
    free,
    keep_freed_memory,
    peak,
    peak_of_process,
)


def test_circles_are_collected():
    class Holder:
        pass

    one, two = Holder(), Holder()
    one.other, two.other = two, one
    one.tensor = torch.zeros(4)
    seen = weakref.ref(one.tensor)
    gc.disable()
    try:
        del one, two
        assert seen() is not None
        free()
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.long
def test_a_fine_tune_leaves_no_network_behind(small, tmp_path, monkeypatch):
    from mia_bench.execution import stages

    seen = []
    load = stages.load_untrained

    def watched(*arguments, **options):
        target = load(*arguments, **options)
        seen.append(weakref.ref(target.unet))
        return target

    monkeypatch.setattr(stages, "load_untrained", watched)
    train_models(make_plan(small(outputs=tmp_path)))
    assert len(seen) == 2
    assert [ref() for ref in seen] == [None, None]


PAGES = """
import resource
import torch
from mia_bench.utils.memory import keep_freed_memory
if not keep_freed_memory():
    print("no glibc")
    raise SystemExit
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def call():
    several = [torch.ones(2**20) for _ in range(20)]  # 4 MiB each
call()
before = faults()
for _ in range(10):
    call()
print(faults() - before)
"""


@pytest.mark.long
def test_memory_that_is_wanted_again_is_kept(run_python):
    kept = run_python("-c", PAGES).stdout.strip()
    if kept == "no glibc":
        assert keep_freed_memory() is False
    else:  # ten calls take 204,800 pages of 4 KiB where each is given back
        assert int(kept) <= 20_480


def test_the_peak_is_in_bytes():
    forget_peak()
    where, most = peak()
    assert where in ("GPU", "process")
    assert most > 50 * 2**20


def test_the_peak_of_a_program_is_not_its_parents(run_python):
    ballast = np.ones(400 << 20, np.uint8)
    done = run_python(
        "-c", "from mia_bench.utils.memory import peak_of_process; print(peak_of_process())"
    )
    assert 1 << 20 < int(done.stdout) < ballast.nbytes
    assert peak_of_process() > ballast.nbytes
