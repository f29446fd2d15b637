"""conf/ and the bundled model travel with the wheel, built from the checkout and from the sdist."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = (
    "mia_bench/conf/config.yaml",
    "mia_bench/assets/tiny/model_index.json",
    "mia_bench/cli/run.py",
    "mia_bench/cli/dispatch.py",
    "hydra_plugins/mia_bench_sweeper.py",
    "hydra_plugins/mia_bench_ray_launcher.py",
    "mia_bench/conf/hydra/sweeper/planned.yaml",
    "mia_bench/report/template/index.html.j2",
    "mia_bench/report/template/page.css",
    "mia_bench/report/template/page.js",
)


def built(what: str, source: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "build", f"--{what}", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_conf_and_the_bundle(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert set(NEEDED) <= set(names)


@pytest.mark.long
def test_a_wheel_from_the_sdist_is_the_same(wheel, tmp_path):
    archive = built("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = built("wheel", source, tmp_path / "wheel")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_an_installed_wheel_finds_its_conf(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from mia_bench.config.compose import conf_dir; print(conf_dir())"
    said = subprocess.run(
        [sys.executable, "-P", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert said.stdout.strip() == str(tmp_path / "mia_bench" / "conf")


@pytest.mark.long
def test_the_console_script_of_an_installed_wheel_starts_the_commands(wheel, tmp_path):
    """As pip makes it of the entry point that the wheel names."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (metadata,) = (Distribution.at(path) for path in tmp_path.glob("*.dist-info"))
    (entry,) = metadata.entry_points.select(group="console_scripts")
    assert (entry.name, entry.value) == ("mia-bench", "mia_bench.cli.dispatch:main")
    script = tmp_path / entry.name
    script.write_text(
        f"from {entry.module} import {entry.attr}\nraise SystemExit({entry.attr}())\n"
    )

    def run(*words):
        return subprocess.run(
            [sys.executable, str(script), *words],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )

    assert run("--help").stdout.startswith("usage: mia-bench ")
    assert "clid_vec" in run("list", "attacks").stdout
    assert run("reprot").returncode == 2
