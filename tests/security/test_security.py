"""SECURITY.md, line by line, where no module's own test says it."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from album import make_album
from corpus import encode, picture

from mia_bench.cli.run import main
from mia_bench.config.validate import check_names
from mia_bench.data.__main__ import inspect
from mia_bench.display.status_tables import show
from mia_bench.execution.run import execute
from mia_bench.execution.single_run import run_or_plan, run_single
from mia_bench.execution.stages import train_models
from mia_bench.planning.experiment import compose
from mia_bench.planning.make_plan import make_plan
from mia_bench.storage.artifacts import is_complete
from mia_bench.utils.errors import MiaError

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("mia_bench/**/*.py"), *ROOT.glob("hydra_plugins/*.py")])
KEY = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz123456"
ESCAPES = "\x1b]0;owned\x07\x1b[31mred\x1b[2J\x9b31m\u202eevil"


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """('torch.load', node) of every call by a plain dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str, str]:
    return {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg}


# --- the source -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_nothing_in_the_source_runs_what_it_reads(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert "trust_remote_code" not in text
    imported = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import)}
    assert not {"import pickle", "import dill", "import marshal", "import shelve"} & (
        imported - ({"import pickle"} if path.name == "serialization.py" else set())
    )
    for name, call in calls(tree):
        options = keywords(call)
        assert name not in ("eval", "exec", "os.system", "pickle.load", "pickle.loads"), name
        assert options.get("shell") != "True"
        assert options.get("allow_pickle") != "True"
        assert not name.endswith((".extractall", ".unpack_archive")), name
        if name in ("torch.load", "load_from_checkpoint"):
            assert options["weights_only"] == "True"
        if name == "yaml.load":
            assert options["Loader"] in ("loader", "yaml.SafeLoader")
        if "ckpt_path" in options:
            assert options["weights_only"] == "True"
        if name == "print" and "/bench/" not in str(path.relative_to(ROOT)):
            # completion and listing print this package's own words, for a shell or a file
            printing = ("terminal.py", "preview.py", "completion.py", "listing.py")
            assert path.name in printing or "pretrain" in path.parts, name


def test_models_of_others_are_opened_as_safetensors() -> None:
    """Every from_pretrained of weights says so; configurations and tokenizers have none."""
    unsaid = [
        f"{path.name}: {name}"
        for path in SOURCES
        for name, call in calls(ast.parse(path.read_text(encoding="utf-8")))
        if name.endswith(".from_pretrained")
        and "use_safetensors" not in keywords(call)
        and not any(w in name for w in ("Tokenizer", "Processor", "Config", "kind."))
    ]
    assert unsaid == []


# --- our own checkpoint ---------------------------------------------------------------------------


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.long
def test_a_checkpoint_that_is_a_program_is_not_run(small, tmp_path, capsys) -> None:
    plan = make_plan(small("attack=loss", outputs=tmp_path / "outputs"))
    folder = plan.target.folder
    tmp = folder.with_name(folder.name + ".tmp")
    tmp.mkdir(parents=True)
    torch.save({"state_dict": Bomb(tmp_path / "exploded")}, tmp / "last.ckpt")
    train_models(plan)
    assert not (tmp_path / "exploded").exists()
    said = capsys.readouterr().err
    assert "last.ckpt is damaged (Weights only load failed" in said
    assert "training begins again" in said
    assert is_complete(folder)


# --- paths ----------------------------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A picture that is nobody's business, beside the data."""
    (tmp_path / "beside").mkdir()
    path = tmp_path / "beside/secret.png"
    path.write_bytes(encode(picture(77)))
    return path


def test_metadata_names_do_not_lead_out(tmp_path, beside) -> None:
    root = make_album(tmp_path / "data", 3)
    names = (
        "../beside/secret.png",
        str(beside),
        "a/../../beside/secret.png",
        "link.png",
        "in/s.png",
    )
    (root / "link.png").symlink_to(beside)
    (root / "in").symlink_to(beside.parent)
    lines = [json.dumps({"file_name": name, "text": "a secret"}) for name in names]
    with (root / "metadata.jsonl").open("a") as handle:
        handle.write("\n" + "\n".join([*lines, json.dumps({"file_name": "in/secret.png"})]))
    experiment = compose("data=imagefolder", f"data.source.root={root}")
    listing = experiment.source.items()
    assert [item.name for item in listing.items] == ["p000.png", "p001.png", "p002.png"]
    assert sum("out of the folder" in skip.reason for skip in listing.skipped) >= 4


def test_a_table_cannot_name_a_file_to_read(tmp_path, beside) -> None:
    image = [{"bytes": None, "path": str(beside)}, {"bytes": encode(picture(1)), "path": "../x"}]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"image": image, "text": ["a", "b"]}), tmp_path / "data/t.parquet")
    words = ("data=parquet", "data.name=p", f"data.source.root={tmp_path / 'data'}")
    listing = compose(*words).source.items()
    assert [item.caption for item in listing.items] == ["b"]
    assert [skip.reason for skip in listing.skipped] == ["the picture is not in the table"]


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", "/etc", ".hidden", "a b", "<b>", ESCAPES, "x" * 99]
)
def test_names_that_become_file_names_are_plain(name) -> None:
    with pytest.raises(MiaError, match="cannot be a name"):
        compose(f"data.name='{name}'")
    with pytest.raises(MiaError, match="cannot be a name"):
        check_names([("attack", name)])


@pytest.mark.parametrize("path", ["bundled:..", "bundled:../../..", "bundled:/etc", "bundled:"])
def test_bundled_models_are_those_of_the_package(path) -> None:
    with pytest.raises(MiaError, match="names no model of the package"):
        compose(f"model.path='{path}'").model.base_hash()


def test_an_imported_split_names_rows_and_no_files(tmp_path, beside) -> None:
    root = make_album(tmp_path / "data", 60)
    table = tmp_path / "split.csv"
    table.write_text(f"name,is_member\n../beside/secret.png,1\n{beside},0\n")
    words = ("data=imagefolder", f"data.source.root={root}", f"data.split={table}")
    with pytest.raises(MiaError, match="2 of 2 rows are not in the data"):
        make_plan(compose(*words, f"paths.outputs={tmp_path / 'outputs'}"))


def test_members_of_an_archive_stay_in_memory_and_below_a_size(tmp_path, monkeypatch) -> None:
    from mia_bench.pretrain import corpus

    monkeypatch.setattr(corpus, "MAX_IMAGE_BYTES", 5_000)
    data = encode(picture(3))
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        for name, content in (
            ("package/img/good.png", data),
            ("package/img/../../../evil.png", data),
            ("/package/img/absolute.png", data),
            ("package/img/large.png", bytes(6_000)),
            ("package/img/program.sh", b"#!"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("package/img/link.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    before = sorted(tmp_path.rglob("*"))
    assert list(corpus._members(tmp_path / "a.tgz", "package/img")) == [("good", data)]
    assert sorted(tmp_path.rglob("*")) == before


# --- what is shown --------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """An album whose names and captions try to steer the terminal, and some that cannot be used."""
    root = make_album(tmp_path / "data", 60)
    lines = []
    for i in range(10):
        name = f"{ESCAPES.replace('/', '')}{i}.png"
        (root / name).write_bytes(encode(picture(500 + i)) if i % 2 else f"no picture {i}".encode())
        lines.append(json.dumps({"file_name": name, "text": f"[red]{ESCAPES} number {i} of it"}))
    with (root / "metadata.jsonl").open("a") as handle:
        handle.write("\n" + "\n".join(lines))
    return root


@pytest.fixture
def clean(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """clean(): what was printed, after making sure that nothing of ESCAPES steers."""

    def read() -> str:
        out, err = capfd.readouterr()
        for part in ("\x1b]0;", "\x1b[31m", "\x1b[2J", "\x9b", "\u202e", "\x07"):
            assert part not in out + err, part
        return out + err

    return read


@pytest.mark.long
def test_captions_and_names_cannot_steer_a_terminal(hostile, small, tmp_path, clean) -> None:
    outputs = tmp_path / "outputs"
    where = ("data=imagefolder", f"data.source.root={hostile}")
    run_or_plan(small(*where, "attack=loss", "plan_only=true", outputs=outputs))
    assert "5 unreadable (bad input)" in clean()
    inspect([*where, f"paths.outputs={outputs}"])
    assert "5 unreadable (bad input)" in clean()
    run_single(small(*where, "attack=loss", outputs=outputs))
    assert "loss" in clean()
    show(outputs)
    clean()
    with pytest.raises(MiaError) as error:
        execute(small(*where, "data.on_error=raise", "attack=loss", "seed=1", outputs=outputs))
    assert str(error.value).isprintable()
    for path in [*outputs.glob("reports/data-*/*"), *outputs.glob("splits/*.json")]:
        if path.suffix in (".json", ".csv"):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", path.read_text()), path


def test_a_bug_is_reported_as_plain_text(monkeypatch, tmp_path, clean) -> None:
    def broken(_: object) -> None:
        raise RuntimeError(f"deep inside {ESCAPES}")

    monkeypatch.setattr("mia_bench.cli.run.job", broken)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mia_bench", "attack=loss"])
    with pytest.raises(SystemExit):
        main()
    assert "RuntimeError" in clean()


# --- secrets --------------------------------------------------------------------------------------


def holding(folder: Path, *values: str) -> list[Path]:
    """Files under `folder` that hold one of `values`, by content or by name."""
    wanted = [value.encode() for value in values]
    found = [p for p in folder.rglob("*") if any(v in str(p) for v in values)]
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return found + [path for path in files if any(v in path.read_bytes() for v in wanted)]


@pytest.mark.long
def test_secrets_of_the_environment_are_in_no_file(
    small_overrides, tmp_path, monkeypatch, capfd
) -> None:
    """A whole run with an offline mirror, then the same with secrets where they do not belong."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    base = [
        "attack=loss",
        "model.finetune=false",
        "calibration=split",
        "data.random_labels=true",
        *small_overrides,
    ]
    base += ["data.sizes.target_member=40", "data.sizes.target_nonmember=40"]
    for extra in (
        ["logger=wandb", "logger.wandb=offline"],
        [f"logger.entity={KEY}"],
        ["logger.entity=${oc.env:HF_TOKEN}"],
        [f"+hf_token={TOKEN}"],
        [f"WANDB_API_KEY={KEY}"],
        [f"data.source.root={TOKEN}"],
    ):
        monkeypatch.setattr(sys, "argv", ["mia_bench", *base, *extra])
        try:
            main()
        except SystemExit:
            assert extra[0] != "logger=wandb"
    said = "".join(capfd.readouterr())
    assert KEY not in said
    assert TOKEN not in said
    assert "leave secrets in the environment" in said
    assert list(tmp_path.glob("outputs/runs/*/*/loss-*/manifest.json"))
    assert list(tmp_path.glob("outputs/wandb/offline-run-*"))
    assert holding(tmp_path, KEY, TOKEN) == []
