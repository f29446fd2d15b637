"""A hub on this machine, met by the real client: the right run, or the right sentence.

Repositories, faults and the protocol are in helpers/hub_server.py.
"""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import TOKEN, Hub, Repository, serving
from jobs import assert_same, complete, refused, results
from miniature import caption, pictures, table
from pipelines import save_pipeline
from safetensors.torch import save_file

from mia_bench.data import mscoco
from mia_bench.data.readers.hub import HubFiles
from mia_bench.data.readers.hub import fetch as fetch_data
from mia_bench.models import hub
from mia_bench.models.hub import PINNED_COMMITS
from mia_bench.utils.errors import MiaError, Missing

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
GATED, OWN, LORA = "someone/gated", "someone/pipeline", "someone/adapters"
UNET = "unet/diffusion_pytorch_model.safetensors"
COMMIT = "c" * 40
NOWHERE = "http://127.0.0.1:9"  # the discard port, where nothing listens
VAL_ROWS, TRAIN_ROWS = 30, 48
FEW = (
    *("attack=clid", "model=sd15", "data=mscoco", "trainer=cpu", "logger.wandb=disabled"),
    *("model.resolution=64", "model.chunk=8", "data.source.train_rows=40"),
    *("finetune.epochs=null", "finetune.steps=2", "finetune.batch_size=4"),
    *("finetune.val_every=2", "finetune.val_rows=2", "eval.resamples=100"),
    *("eval.base_rows=[]", "eval.blind_rows=false", "calibration.folds=2"),
    *("data.sizes.target_member=10", "data.sizes.target_nonmember=10"),
    *("data.sizes.shadow_member=10", "data.sizes.shadow_nonmember=10", "data.sizes.validation=4"),
)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    return save_pipeline(tmp_path_factory.mktemp("pipeline") / "sd15", "sd1")


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> dict[str, Path]:
    """Both mirrors of COCO with a few pictures, in their own columns and file names."""
    root = tmp_path_factory.mktemp("coco")
    val, train = root / "val", root / "train"
    texts = [[caption(i), caption(i, 1)] for i in range(VAL_ROWS + TRAIN_ROWS)]
    table(
        val / "data" / "val-00000-of-00001.parquet",
        image=pictures(VAL_ROWS),
        answer=texts[:VAL_ROWS],
        question_id=[f"{i:012d}.jpg" for i in range(VAL_ROWS)],
    )
    for part in range(4):  # of which three are read
        rows = range(VAL_ROWS + 12 * part, VAL_ROWS + 12 * (part + 1))
        table(
            train / "data" / f"train-{part:05d}-of-00004.parquet",
            image=pictures(12, rows.start),
            sentences_raw=[texts[i] for i in rows],
            filename=[f"COCO_train2014_{i:012d}.jpg" for i in rows],
        )
    return {mscoco.VAL: val, mscoco.TRAIN: train}


@pytest.fixture
def served(pipeline, coco, tmp_path) -> Iterator[Hub]:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_{}.weight"
    save_file(
        {name.format("A"): torch.ones(2, 8), name.format("B"): torch.ones(8, 2)},
        adapters / "pytorch_lora_weights.safetensors",
    )
    repositories = {
        ("models", SD15): Repository(pipeline, PINNED_COMMITS[SD15]),
        ("models", OWN): Repository(pipeline, COMMIT),
        ("models", GATED): Repository(pipeline, COMMIT, gated=True),
        ("models", LORA): Repository(adapters, COMMIT),
    }
    for pool, mirror in mscoco.MIRRORS.items():
        commit = mirror.revision or COMMIT
        repositories["datasets", mirror.repo] = Repository(coco[pool], commit)
    with serving(Hub(repositories=repositories, moved={"someone/old": OWN})) as running:
        yield running


@pytest.fixture
def cache(served, tmp_path, monkeypatch) -> Path:
    """This process's client meets `served`, with an empty cache and no login."""
    from huggingface_hub import constants

    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "ENDPOINT", served.address)
    template = served.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", "")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return folder


def reason(fetch: Callable[[], Any]) -> str:
    with pytest.raises(Missing) as caught:
        fetch()
    return str(caught.value)


# --- models


@pytest.mark.usefixtures("cache")
def test_a_model_is_fetched_once(served):
    hub.fetch(SD15, "pinned")
    assert UNET in served.downloads()
    served.requests.clear()
    hub.fetch(SD15, "pinned")
    assert hub.locate(SD15, "pinned").name == PINNED_COMMITS[SD15]
    assert served.requests == []


@pytest.mark.long
@pytest.mark.usefixtures("cache")
def test_a_moved_id_leads_to_the_model(pipeline):
    hub.fetch("someone/old")
    found = hub.locate("someone/old")
    assert (found / UNET).read_bytes() == (pipeline / UNET).read_bytes()


@pytest.mark.long
@pytest.mark.usefixtures("cache")
def test_a_file_that_breaks_off_once_is_whole_in_the_end(served, pipeline):
    served.breaking[UNET.rpartition("/")[2]] = 1
    hub.fetch(OWN)
    assert (hub.locate(OWN) / UNET).read_bytes() == (pipeline / UNET).read_bytes()


@pytest.mark.long
@pytest.mark.usefixtures("cache")
def test_a_connection_that_keeps_breaking_leaves_no_model_and_the_next_call_goes_on(served):
    served.breaking["model.safetensors"] = 1_000
    text = reason(lambda: hub.fetch(OWN))
    assert "run the same command again: files that are whole are kept" in text
    served.breaking.clear()
    served.requests.clear()
    hub.fetch(OWN)
    assert hub.locate(OWN)
    assert "text_encoder/model.safetensors" in served.downloads()
    assert len(served.downloads()) < len(served.repositories["models", OWN].files())


@pytest.mark.usefixtures("cache")
def test_a_gated_model_says_where_to_ask_and_how_to_log_in(served, monkeypatch):
    text = reason(lambda: hub.fetch(GATED))
    assert f"{GATED}: gated: accept its conditions at {served.address}/{GATED}; log in" in text
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert "the account that is logged in has no access" in reason(lambda: hub.fetch(GATED))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fetch(GATED)
    assert hub.locate(GATED)


@pytest.mark.long
@pytest.mark.usefixtures("cache")
def test_a_model_that_is_not_there(monkeypatch):
    text = reason(lambda: hub.fetch("no/body"))
    assert "no/body: no repository of that name (401): look at its spelling" in text
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "no repository of that name (404)" in reason(lambda: hub.fetch("no/body"))


@pytest.mark.first_look
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, r"no access (403): log in"),
        (429, "too many requests from here (429): wait some minutes"),
        (503, "the hub is out of order (503): run the same command again later"),
    ],
)
def test_a_hub_that_refuses_says_why(served, status, words):
    served.statuses["/api/models", status] = 1_000
    assert f"{OWN}: {words}" in reason(lambda: hub.fetch(OWN))
    served.statuses.clear()
    hub.fetch(OWN)


@pytest.mark.long
@pytest.mark.usefixtures("cache")
def test_too_many_requests_in_between_are_waited_for(served):
    served.statuses["/resolve/", 429] = 1
    hub.fetch(OWN)
    assert hub.locate(OWN)


@pytest.mark.long
@pytest.mark.usefixtures("cache")
def test_a_pinned_commit_that_is_gone_names_the_option(served, pipeline):
    served.repositories["models", SD15] = Repository(pipeline, COMMIT)
    text = reason(lambda: hub.fetch(SD15, "pinned"))
    assert f"has no commit {PINNED_COMMITS[SD15]} now; model.revision=null takes the newest" in text
    hub.fetch(SD15, None)
    assert hub.locate(SD15, None).name == COMMIT


@pytest.mark.long
@pytest.mark.usefixtures("cache")
def test_a_branch_that_moved_keeps_the_commit_that_is_here(served, pipeline):
    """What a run was planned with stays: another commit would be another base."""
    hub.fetch(OWN)
    served.repositories["models", OWN] = Repository(pipeline, "d" * 40)
    hub.fetch(OWN)
    assert hub.locate(OWN).name == COMMIT
    hub.fetch(OWN, "d" * 40)
    assert hub.locate(OWN, "d" * 40).name == "d" * 40


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file of this process may be larger than 4 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("served", "small_disk")
def test_a_full_disk_is_no_lost_network(cache):
    with pytest.raises(MiaError) as caught:
        hub.fetch(OWN)
    assert not isinstance(caught.value, Missing)
    assert f"cannot write to the hub's cache {cache}: File too large. Free some" in str(
        caught.value
    )


@pytest.mark.usefixtures("cache")
def test_adapters_are_fetched_and_what_is_not_there_is_said(served):
    hub.fetch_lora(LORA)
    assert hub.locate_lora(LORA).name == "pytorch_lora_weights.safetensors"
    assert "The hub replied: no repository of that name" in reason(
        lambda: hub.fetch_lora("no/adapters")
    )
    text = reason(lambda: hub.fetch_lora(f"{LORA}/other.safetensors"))
    assert "has no other.safetensors, but pytorch_lora_weights.safetensors" in text
    served.statuses["/resolve/", 403] = 1_000
    repository = served.repositories["models", LORA]
    (repository.folder / "other.safetensors").write_bytes(b"more")
    repository.commit = "e" * 40
    assert "no access (403)" in reason(lambda: hub.fetch_lora(f"{LORA}/other.safetensors"))


# --- data


@pytest.mark.usefixtures("cache")
def test_data_are_fetched_once_and_only_the_files_that_are_read(served):
    source = mscoco.Mscoco(root="nowhere", train_rows=20)
    listing = source.items()
    assert len(listing.items) == VAL_ROWS + 20
    assert sorted(served.downloads())[-1] == "data/val-00000-of-00001.parquet"
    assert len(served.downloads()) == 1 + 3
    served.requests.clear()
    assert source.downloads() == ""
    assert len(source.items().items) == VAL_ROWS + 20
    assert served.requests == []


@pytest.mark.long
@pytest.mark.usefixtures("cache")
def test_data_that_cannot_be_had_say_why(served):
    mirror = mscoco.MIRRORS[mscoco.VAL]
    repository = served.repositories["datasets", mirror.repo]
    served.repositories["datasets", mirror.repo] = Repository(repository.folder, COMMIT)
    text = reason(lambda: mscoco.Mscoco(root="nowhere").items())
    assert f"has no commit {mirror.revision} now" in text
    assert "data=openmoji works now" in text
    served.statuses["/api/datasets", 429] = 1_000
    assert "too many requests from here (429)" in reason(lambda: mscoco.Mscoco("nowhere").items())
    served.statuses.clear()
    served.repositories["datasets", mirror.repo] = Repository(
        repository.folder, str(mirror.revision), gated=True
    )
    text = reason(lambda: mscoco.Mscoco(root="nowhere").items())
    assert f"gated: accept its conditions at {served.address}/datasets/{mirror.repo}" in text


@pytest.mark.long
@pytest.mark.usefixtures("served", "cache", "small_disk")
def test_data_on_a_full_disk():
    with pytest.raises(MiaError, match="cannot write to the hub's cache"):
        fetch_data(HubFiles(mscoco.MIRRORS[mscoco.TRAIN].repo, "train"), "")


# --- whole runs, in processes of their own


@pytest.mark.long
def test_a_run_from_the_hub_then_offline_to_the_same_bits(served, tmp_path):
    cache, outputs = tmp_path / "cache", tmp_path / "outputs"
    env = served.env(cache, MIA_BENCH_DATA=str(tmp_path / "data"))
    said = complete(outputs, *FEW, env=env)
    assert f"fetching {SD15}" in said
    assert "downloading lmms-lab/COCO-Caption2017" in said
    offline = env | {"HF_ENDPOINT": NOWHERE, "HF_HUB_OFFLINE": "1"}
    complete(tmp_path / "again", *FEW, env=offline)
    assert_same(results(outputs), results(tmp_path / "again"))
    shutil.rmtree(cache)
    message = refused(tmp_path / "third", *FEW, env=offline)
    assert f"the weights of {SD15} are not here" in message
    assert "HF_HUB_OFFLINE is set" in message


@pytest.mark.long
def test_a_run_with_adapters_of_the_hub(served, tmp_path):
    env = served.env(tmp_path / "cache", MIA_BENCH_DATA=str(tmp_path / "data"))
    words = [*FEW, f"model.lora={LORA}", "plan_only=false"]
    assert f"fetching {LORA}" in complete(tmp_path / "outputs", *words, env=env)


@pytest.mark.long
@pytest.mark.parametrize(("model", "words"), [(OWN, None), (GATED, "gated: accept its conditions")])
def test_an_audit_of_a_hub_id(served, tmp_path, model, words, run_python, monkeypatch):
    from album import make_album

    for name, value in served.env(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    folders = [make_album(tmp_path / name, 10, first) for name, first in (("a", 0), ("b", 500))]
    done = run_python(
        *("-m", "mia_bench", "audit", "data", f"model={model}", f"mine={folders[0]}"),
        *(f"unseen={folders[1]}", "attacks=sima", "trainer=cpu", "model.resolution=64"),
        f"paths.outputs={tmp_path / 'outputs'}",
        check=False,
    )
    assert "Traceback" not in done.stderr
    if words is None:
        assert done.returncode == 0, done.stderr[-3000:]
        assert re.search("^(No evidence|Cannot say)", done.stdout, re.MULTILINE), done.stdout
    else:
        assert done.returncode == 1
        assert words in done.stderr
