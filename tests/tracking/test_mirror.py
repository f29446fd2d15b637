"""W&B is a mirror: real offline runs read back, distinct ids, and failures that stop nothing."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from mia_bench.config.schema import LoggerOptions
from mia_bench.storage.artifacts import seal
from mia_bench.storage.index import run_at
from mia_bench.tracking import mirror as mirror_module
from mia_bench.tracking.mirror import is_current, mirror, mirror_all, mode_of
from mia_bench.tracking.records import attack_record, finetune_record, report_record
from mia_bench.utils.errors import MiaError

OFFLINE = LoggerOptions(wandb="offline")
BLOCK = 32768


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No key, no netrc, and nothing known about the network from other tests."""
    monkeypatch.setattr(mirror_module, "_unreachable", [])
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    mirror_module._say_offline.cache_clear()


def records(folder: Path):
    """Every record of a run's log; W&B's own process may write the last ones after `finish`."""
    for _ in range(200):
        log = parsed(folder)
        if log and log[-1].WhichOneof("record_type") == "exit":
            return log
        time.sleep(0.05)
    raise AssertionError(f"the log in {folder} never ended")


def parsed(folder: Path):
    """LevelDB's log format behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2 as pb

    (path,) = folder.glob("*.wandb")
    data, at, parts, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # a header never crosses a block
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            record = pb.Record()
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def stored(outputs: Path) -> dict[str, Path]:
    logs = (outputs / "wandb").glob("offline-run-*/run-*.wandb")
    return {path.stem.removeprefix("run-"): path.parent for path in logs}


def history(log) -> list[dict[str, object]]:
    rows = [r.history for r in log if r.WhichOneof("record_type") == "history"]
    return [
        {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in row.item}
        for row in rows
    ]


def summary(log) -> dict[str, object]:
    items = [i for r in log if r.WhichOneof("record_type") == "summary" for i in r.summary.update]
    return {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in items}


def about(log):
    return next(r.run for r in log if r.WhichOneof("record_type") == "run")


def test_an_attack_run_read_back_from_its_transaction_log(store_cell, tmp_path):
    folder = store_cell(tmp_path)
    entry = attack_record(run_at(folder))
    assert mirror(entry, tmp_path, OFFLINE, "offline")
    log = records(stored(tmp_path)[entry.id])
    run = about(log)
    assert (run.run_id, run.run_group, run.job_type) == (entry.id, "a" * 16, "attack")
    assert set(run.tags) == {"clid", "openmoji"}
    config = {i.key: json.loads(i.value_json) for i in run.config.update}
    assert config["attack_name"] == "clid"
    assert config["attack"] == {"clid": {"alpha": None}}
    rows = history(log)
    curve = [(row["roc_fpr"], row["roc_tpr"]) for row in rows if "roc_fpr" in row]
    assert curve[0] == (0, 0)
    assert curve[-1] == (1, 1)
    charts = {name.partition("/")[0] for row in rows for name in row}
    assert {"scores", "scores_members", "scores_nonmembers"} <= charts
    assert any(name.startswith("roc_log") for name in charts)
    found = summary(log)
    assert found["auroc"] == entry.summary["auroc"]
    assert found["mirrored"] == entry.signature
    table = next((stored(tmp_path)[entry.id] / "files").rglob("scores*.table.json"))
    rows = json.loads(table.read_text())
    assert rows["columns"] == ["sample_id", "group", "is_member", "score"]
    assert len(rows["data"]) == 240


def test_a_fine_tune_has_its_loss_curves(store_cell, tmp_path):
    store_cell(tmp_path)
    entry = finetune_record(tmp_path / "targets" / ("a" * 16), tmp_path)
    assert mirror(entry, tmp_path, OFFLINE, "offline")
    log = records(stored(tmp_path)[entry.id])
    assert about(log).job_type == "finetune"
    curve = [(row["step"], row["val_heldout"]) for row in history(log)]
    assert curve == [(100, 0.2), (200, 0.1), (300, pytest.approx(0.2 / 3))]


def test_pictures_and_the_report_travel(store_cell, tmp_path):
    from PIL import Image

    folder = store_cell(tmp_path)
    (folder / "evidence").mkdir()
    Image.new("RGB", (8, 80)).save(folder / "evidence" / "one.png")
    seal(folder / "evidence", {})
    run, report = attack_record(run_at(folder)), report_record("a" * 16, tmp_path)
    assert mirror_all([run, report], tmp_path, OFFLINE) == (2, 0)
    assert list((stored(tmp_path)[run.id] / "files").rglob("evidence*.png"))
    table = next((stored(tmp_path)[report.id] / "files").rglob("leaderboard*.table.json"))
    assert json.loads(table.read_text())["data"][0][0] == "clid"


@pytest.mark.long
def test_twice_makes_one_run_and_each_cell_has_its_own_id(store_cell, tmp_path):
    entries = [attack_record(run_at(store_cell(tmp_path, a))) for a in ("clid", "loss", "pia")]
    assert mirror_all(entries, tmp_path, OFFLINE) == (3, 0)
    assert mirror_all(entries, tmp_path, OFFLINE) == (0, 0)
    names = [p.name for p in (tmp_path / "wandb").glob("offline-run-*")]
    assert len(names) == 3
    assert set(stored(tmp_path)) == {entry.id for entry in entries}


def test_an_offline_mirror_is_not_enough_once_there_is_a_key(store_cell, tmp_path, monkeypatch):
    entry = attack_record(run_at(store_cell(tmp_path)))
    mirror(entry, tmp_path, OFFLINE, "offline")
    online = LoggerOptions(wandb="online")
    assert is_current(entry, tmp_path, online)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert not is_current(entry, tmp_path, online)
    assert is_current(entry, tmp_path, OFFLINE)
    assert not is_current(entry, tmp_path, LoggerOptions(wandb="offline", project="another"))


@pytest.fixture
def listener():
    """A server that counts connections and says nothing; its address and the counter."""
    server, counted = socket.create_server(("127.0.0.1", 0)), []

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            counted.append(connection.recv(200))
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", counted
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def test_offline_sends_nothing(store_cell, tmp_path, monkeypatch, listener):
    """Every way out leads to the listener, for W&B's own process too, or is closed."""
    address, counted = listener
    for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, address)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    connect = socket.socket.connect

    def local_only(self, where):
        assert self.family == socket.AF_UNIX or where[0] in ("127.0.0.1", "localhost"), where
        return connect(self, where)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    assert mirror(attack_record(run_at(store_cell(tmp_path))), tmp_path, OFFLINE, "offline")
    assert counted == []
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name)
    assert mirror_module._no_route() is None  # and the listener would have noticed
    for _ in range(100):
        if counted:
            break
        threading.Event().wait(0.02)
    assert counted == [b""]


def test_the_key_is_written_nowhere(store_cell, tmp_path, monkeypatch):
    secret = "5ec2e7" * 6 + "0123"
    monkeypatch.setenv("WANDB_API_KEY", secret)
    mirror(attack_record(run_at(store_cell(tmp_path))), tmp_path, OFFLINE, "offline")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_a_lost_network_is_said_once_and_stops_nothing(store_cell, tmp_path, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # nobody listens there any more
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    entries = [attack_record(run_at(store_cell(tmp_path, a))) for a in ("clid", "loss")]
    assert mirror_all(entries, tmp_path, LoggerOptions(wandb="online")) == (0, 2)
    said = capsys.readouterr().err
    assert said.count("cannot be reached") == 1
    assert "mia_bench.sync" in said
    assert not list((tmp_path / "wandb" / "mirrored").glob("*.json"))


def test_a_failing_wandb_is_reported_and_nothing_else(store_cell, tmp_path, monkeypatch, capsys):
    import wandb

    def broken(**_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(wandb, "init", broken)
    entry = attack_record(run_at(store_cell(tmp_path)))
    assert not mirror(entry, tmp_path, OFFLINE, "offline")
    assert "out of order" in capsys.readouterr().err
    assert not is_current(entry, tmp_path, OFFLINE)


def test_online_without_a_key_is_offline_and_says_so_once(capsys):
    assert [mode_of(LoggerOptions(wandb="online")) for _ in range(2)] == ["offline", "offline"]
    assert capsys.readouterr().out.count("offline") == 1


def test_disabled_touches_nothing(store_cell, tmp_path):
    entry = attack_record(run_at(store_cell(tmp_path)))
    assert not mirror(entry, tmp_path, LoggerOptions(), "disabled")
    assert not (tmp_path / "wandb").exists()


def test_an_unknown_mode_is_refused():
    with pytest.raises(MiaError, match="online, offline, disabled"):
        mode_of(LoggerOptions(wandb="sometimes"))
