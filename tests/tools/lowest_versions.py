"""Are the lower bounds of pyproject.toml true? `make test-lowest`.

Every direct requirement at the lowest version it allows (uv's lowest-direct resolution; what they
need themselves at its newest), installed in an environment of its own beside the torch, torchvision
and lightning that this Python has, and a smoke set of tests run there.

    lowest_versions.py [folder=build/lowest] [only=resolve]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = (sys.executable, "-m", "uv", "pip")
AS_IT_IS = ("torch", "torchvision")  # as large as everything else together, and of the machine
NOT_TESTED = ("noto-cjk-sans-jp-regular",)  # a font
TEST_TOOLS = ("pytest>=8.3", "hypothesis>=6.115", "scikit-image>=0.24")
SMOKE = (
    *("tests/models/test_stable_diffusion.py", "tests/models/lora/test_training.py"),
    *("tests/training/test_finetune.py", "tests/target/test_model.py", "tests/metrics/test_roc.py"),
    *("tests/data/test_parquet.py", "tests/contracts/test_golden_keys.py"),
    *("tests/evaluation/test_score_run.py", "tests/cli/test_run.py"),
)


def lowest(folder: Path) -> Path:
    """Pinned versions, as `uv pip compile` writes them."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [line for line in declared["dependencies"] if name(line) not in NOT_TESTED]
    wanted = [pinned(line) if name(line) in AS_IT_IS else line for line in wanted]
    folder.mkdir(parents=True, exist_ok=True)
    source, out = folder / "direct.in", folder / "lowest.txt"
    source.write_text("\n".join([*wanted, *TEST_TOOLS]) + "\n", encoding="utf-8")
    words = [*UV, "compile", "--quiet", "--resolution", "lowest-direct"]
    words += ["--python-version", f"{sys.version_info[0]}.{sys.version_info[1]}"]
    subprocess.run([*words, str(source), "-o", str(out)], check=True)
    return out


def name(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def pinned(requirement: str) -> str:
    """The installed version; the local part (+cu130) is no version of the index."""
    from importlib.metadata import version

    return f"{name(requirement)}=={version(name(requirement)).partition('+')[0]}"


def install(versions: Path, folder: Path) -> Path:
    """Python of an environment that sees the packages of this one behind its own."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        words = [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")]
        subprocess.run(words, check=True)
        # torch and what belongs to it come from the Python that runs this
        site = next((folder / "venv" / "lib").glob("python*/site-packages"))
        import torch

        (site / "behind.pth").write_text(f"{Path(torch.__file__).parents[1]}\n", encoding="utf-8")
    kept = folder / "install.txt"
    lines = versions.read_text(encoding="utf-8").splitlines()
    own = [line for line in lines if line[:1].isalnum() and not of_torch(line)]
    kept.write_text("\n".join(own) + "\n", encoding="utf-8")
    words = [*UV, "install", "--quiet", "--no-deps", "--python", str(python), "-r", str(kept)]
    subprocess.run(words, check=True)
    return python


def of_torch(line: str) -> bool:
    first = name(line)
    return first in (*AS_IT_IS, "triton", "setuptools") or first.startswith(("nvidia-", "cuda-"))


def main(words: list[str]) -> int:
    values = {"folder": "build/lowest", "only": ""} | dict(w.partition("=")[::2] for w in words)
    folder = ROOT / values["folder"]
    versions = lowest(folder)
    print(versions.read_text(encoding="utf-8"))
    if values["only"] == "resolve":
        return 0
    python = install(versions, folder)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    # warnings of old versions are not the question
    tests = [str(python), "-m", "pytest", "-q", "-m", "not slow and not long", "-W", "default"]
    tests += ["--continue-on-collection-errors"]
    return subprocess.run([*tests, *SMOKE], cwd=ROOT, env=env).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
