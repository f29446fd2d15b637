"""The script of the GPU day, rehearsed on a CPU: what it gathers, how it stops and goes on."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import gpu_day

from mia_bench.bench.gpu import results
from mia_bench.bench.gpu.results import StepResult

QUICK = "not gpu and not long"


@pytest.fixture
def wheel(tmp_path) -> Callable[..., Path]:
    """wheel(name, *files): a wheel in tmp_path/wheels whose files hold their own names."""

    def build(name: str, *files: str) -> Path:
        path = tmp_path / "wheels" / f"{name}-1-py3-none-any.whl"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.writestr(file, file)
        return path

    return build


def test_the_archive_holds_what_is_installed_without_what_is_not_needed(wheel, tmp_path):
    kept = ["a/__init__.py", "a/_fast.so", "a-1.dist-info/METADATA", "a-1.data/purelib/a/more.py"]
    left = ["a/tests/test_x.py", "a/_fast.pyx", "a/include/x.h", "a-1.data/scripts/a", "a/x.pyi"]
    archive = tmp_path / "day" / gpu_day.ARCHIVE
    archive.parent.mkdir()
    sizes = gpu_day.pack([wheel("a", *kept, *left)], archive)
    assert sizes == {"a-1-py3-none-any.whl": sum(map(len, kept))}
    site = gpu_day.unpacked(archive.parent)
    files = {p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file()}
    assert files == {*kept[:3], "a/more.py"}
    assert gpu_day.unpacked(archive.parent) == site  # once


def test_of_large_packages_the_families_that_are_needed_are_kept(wheel):
    kept = ["diffusers/pipelines/pipeline_utils.py", "diffusers/pipelines/stable_diffusion/a.py"]
    kept += ["transformers/models/__init__.py", "transformers/models/clip/a.py"]
    left = ["diffusers/pipelines/kandinsky/a.py", "transformers/models/whisper/a.py"]
    with zipfile.ZipFile(wheel("large", *kept, *left)) as files:
        assert list(gpu_day.kept(files)) == kept


def test_records_keep_the_names_of_what_is_packed_and_lose_hashes():
    record = b'a/b.py,sha256=x,3\n"a/c,d.py",sha256=y,4\na-1.dist-info/RECORD,,\n'
    names = ["a/c,d.py", "a-1.dist-info/RECORD"]
    short = gpu_day.shortened("a-1.dist-info/RECORD", record, names)
    assert short == b'"a/c,d.py",,\na-1.dist-info/RECORD,,\n'
    assert gpu_day.shortened("a/RECORD", record, names) == record


@pytest.mark.skipif(shutil.which("strip") is None, reason="binutils are not installed")
def test_libraries_lose_their_symbols_and_stay_loadable():
    """pyarrow's libraries come with their symbols, and are named .so or .so.NUMBER."""
    folder = Path(pyarrow.__file__).parent
    library = min(folder.glob("_*.so"), key=lambda path: path.stat().st_size)
    data = library.read_bytes()
    for name in ("a/b.so", "a/libb.so.2600"):
        stripped = gpu_day.without_symbols(name, data)
        assert len(stripped) < len(data)
        assert b"\0.symtab\0" not in stripped
        assert gpu_day.is_loadable(stripped)
    assert gpu_day.without_symbols("a/b.txt", data) == data


def test_a_library_whose_segments_were_moved_is_told():
    """The first segment that is loaded begins at byte 0; behind byte 1 no page begins."""
    folder = Path(pyarrow.__file__).parent
    library = bytearray(min(folder.glob("_*.so"), key=lambda p: p.stat().st_size).read_bytes())
    assert gpu_day.is_loadable(bytes(library))
    (first,) = struct.unpack_from("<Q", library, 32)
    kinds = {struct.unpack_from("<I", library, first + i * 56)[0]: i for i in range(3, -1, -1)}
    struct.pack_into("<Q", library, first + kinds[gpu_day.LOADED_SEGMENT] * 56 + 8, 1)
    assert not gpu_day.is_loadable(bytes(library))


def test_what_would_carry_a_second_torch_is_not_gathered():
    lacking = gpu_day.lacking(gpu_day.present_names(None))
    assert not {"torch", "torchvision", "numpy", "xgboost", "triton"} & lacking.keys()
    assert not any(name.startswith("nvidia") for name in lacking)
    assert {"diffusers", "lightning", "pytest", "hypothesis"} <= lacking.keys()


def test_packages_over_there_are_left_out(tmp_path):
    listing = tmp_path / "pip.txt"
    listing.write_text(
        "Package    Version\n---------- -------\ndiffusers 0.36.0\nScikit_Learn 1.9\n"
    )
    present = gpu_day.present_names(str(listing))
    assert {"diffusers", "scikit-learn", "torch", "triton"} <= present
    assert not {"diffusers", "scikit-learn"} & gpu_day.lacking(present).keys()


def test_an_archive_that_is_too_large_says_what_makes_it_so(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_day, "lacking", lambda _: {"large": "1"})
    monkeypatch.setattr(gpu_day, "MOST_BYTES", 10)
    folder = tmp_path / "day"
    wheels = folder / "wheels-3.12"
    wheels.mkdir(parents=True)
    for name in ("large", "there"):  # the second from an earlier call
        wheel(name, f"{name}/data.bin").rename(wheels / f"{name}-1-py3-none-any.whl")
    with pytest.raises(gpu_day.GpuDayError, match=r"largest .*large-1.*present=FILE"):
        gpu_day.gather("3.12", None, folder)
    with tarfile.open(folder / gpu_day.ARCHIVE) as archive:
        assert archive.getnames() == ["large/data.bin"]


def test_a_step_that_waits_keeps_the_day_open(tmp_path):
    out = tmp_path / "gpu.json"
    figures = results.open_figures(out, "small")
    names = range(gpu_day.expected_steps(is_gpu=bool(figures.machine["is_gpu"])))
    figures.steps |= {str(i): StepResult(1, 1.0, {"x": 1.0}) for i in names}
    results.save(figures, out)
    assert not gpu_day.steps_left(out)
    figures.steps["0"] = StepResult(1)
    results.save(figures, out)
    assert gpu_day.steps_left(out)
    figures.steps["0"] = StepResult(results.MOST_ATTEMPTS)
    results.save(figures, out)
    assert not gpu_day.steps_left(out)


@pytest.mark.long
def test_tests_stop_in_time_and_go_on_with_the_others(tmp_path, run_python):
    """Without a second left one test runs and no other begins; the next part runs another."""
    out = tmp_path / "gpu.json"
    words = ["size=small", f"out={out}", f"folder={tmp_path / 'day'}"]
    words += [f"tests={QUICK} and not slow", f"limit={gpu_day.LAST_TEST_SECONDS}"]
    outcomes: dict[str, str] = {}
    for number in (1, 2):
        done = run_python(str(Path(gpu_day.__file__)), "run", *words, check=False)
        assert done.returncode == gpu_day.LEFT, done.stdout + done.stderr
        before, outcomes = outcomes, json.loads(out.read_text())["tests"]
        assert len(outcomes) == number
        assert before.items() <= outcomes.items()
        assert set(outcomes.values()) <= {"passed", "skipped"}


@pytest.mark.long
def test_a_part_that_takes_too_long_may_tidy_up(tmp_path):
    """What it started goes with it, as the runs that a test started."""
    tidied = tmp_path / "tidied"
    code = (
        "import pathlib, time\n"
        "try:\n    time.sleep(60)\n"
        f"except KeyboardInterrupt:\n    pathlib.Path({str(tidied)!r}).touch()\n"
    )
    assert gpu_day.part(["-c", code], dict(os.environ), time.monotonic() + 10) == -1
    assert tidied.exists()
    assert gpu_day.part(["-c", "raise SystemExit(5)"], {}, time.monotonic() + 60) == 5


@pytest.mark.parametrize(
    ("statuses", "begun", "ends"),
    [
        ([0, 0], ["pytest", "mia_bench.bench"], 0),
        ([1, 0], ["pytest", "mia_bench.bench"], 0),  # a test failed, which is a finding
        ([gpu_day.STOPPED], ["pytest"], gpu_day.LEFT),  # tests stopped in time
        ([-1], ["pytest"], gpu_day.LEFT),
        ([0, 3], ["pytest", "mia_bench.bench"], gpu_day.LEFT),
    ],
)
def test_the_benchmark_follows_when_tests_are_through(tmp_path, monkeypatch, statuses, begun, ends):
    calls, left = [], list(statuses)

    def part(words, *_):
        calls.append(words[1])
        return left.pop(0)

    monkeypatch.setattr(gpu_day, "part", part)
    monkeypatch.setattr(gpu_day, "steps_left", lambda _: False)
    out, day = tmp_path / "gpu.json", tmp_path / "day"
    assert gpu_day.run("small", 540, out, day, QUICK) == ends
    assert calls == begun


@pytest.mark.parametrize("status", [2, 3, 4])
def test_tests_that_cannot_run_end_the_day(tmp_path, monkeypatch, status):
    """Not with the status after which the same command goes on, which would do so for ever."""
    monkeypatch.setattr(gpu_day, "part", lambda *_: status)
    with pytest.raises(gpu_day.GpuDayError, match=rf"did not run .*status {status}"):
        gpu_day.run("small", 540, tmp_path / "gpu.json", tmp_path / "day", QUICK)


def test_a_bare_python_has_what_is_taken_to_be_there_and_nothing_else(tmp_path):
    python = gpu_day.bare_python(tmp_path / "bare")
    code = "import torch, numpy, importlib.util as u; print(u.find_spec('diffusers'))"
    done = subprocess.run([python, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
