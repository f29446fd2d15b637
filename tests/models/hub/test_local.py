"""Models in the hub's cache: whole, incomplete, at another commit, under another id."""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest

from mia_bench.models import hub
from mia_bench.models.hub.repositories import patterns
from mia_bench.utils.errors import Missing

COMMIT = "1234567890" * 4
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def snapshot(cache: Path, repo: str, source: Path, commit: str = COMMIT) -> Path:
    """`source` as huggingface_hub would have left it in its cache."""
    root = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(source, root / "snapshots" / commit)
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    return root / "snapshots" / commit


def test_a_snapshot_in_the_cache_is_found_without_a_network(cache, narrow):
    found = snapshot(cache, "someone/model", narrow("sd1"))
    assert hub.locate("someone/model") == found
    assert hub.locate("someone/model", COMMIT) == found
    with pytest.raises(Missing):
        hub.locate("someone/model", "f" * 40)


def test_a_pinned_id_is_looked_for_at_its_commit_and_its_copy_at_any(cache, narrow):
    other = snapshot(cache, SD15, narrow("sd1"))
    with pytest.raises(Missing, match=r"at 451f4fe16113: the cache has another commit"):
        hub.locate(SD15, "pinned")
    assert hub.locate(SD15, None) == other
    copy = snapshot(cache, "runwayml/stable-diffusion-v1-5", narrow("sd1"))
    assert hub.locate(SD15, "pinned") == copy
    assert hub.locate("runwayml/stable-diffusion-v1-5", "pinned") == copy


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_the_command_fetches_every_file_that_a_run_reads(variant):
    with pytest.raises(Missing) as caught:
        hub.locate("someone/model", None, variant)
    shown = re.findall(r"--include '([^']+)'", str(caught.value))
    for pattern in patterns(variant):
        file = pattern.replace("?", "1").replace("*", "x")
        assert any(fnmatch(file, included) for included in shown), file


def test_a_stopped_download_is_not_a_model(cache, narrow):
    found = snapshot(cache, "someone/model", narrow("sd1"))
    next((found / "vae").glob("*.safetensors")).unlink()
    with pytest.raises(Missing, match=r"incomplete in the cache: no safetensors weights in .*vae"):
        hub.locate("someone/model")


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("scheduler/scheduler_config.json", r"no scheduler_config\.json in .*scheduler"),
        ("unet/config.json", r"no config\.json in .*unet"),
        ("tokenizer/tokenizer.json", r"no tokenizer\.json or vocab\.json or .* in .*tokenizer"),
    ],
)
def test_every_file_that_is_needed_is_looked_for(cache, narrow, lost, reason):
    there = snapshot(cache, "someone/model", narrow("sd1"))
    hub.locate("someone/model")
    (there / lost).unlink()
    with pytest.raises(Missing, match=f"incomplete in the cache: {reason}"):
        hub.locate("someone/model")


def test_a_lost_shard_and_a_pickle_are_the_reasons_given(cache, pipelines, tmp_path):
    sharded = pipelines.save_pipeline(tmp_path / "m", "sd1", shard="40KB")
    there = snapshot(cache, "someone/model", sharded)
    shards = sorted((there / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    hub.locate("someone/model")
    shards[1].unlink()
    with pytest.raises(Missing, match=rf"1 of {len(shards)} shards are missing .*{shards[1].name}"):
        hub.locate("someone/model")
    shutil.rmtree(there / "unet")
    (there / "unet").mkdir()
    (there / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(
        Missing, match=r"only pickles \(diffusion_pytorch_model\.bin\), which are prog"
    ):
        hub.locate("someone/model")


def test_another_commit_in_the_cache_is_named_with_the_way_to_it(cache, narrow):
    there = snapshot(cache, SD15, narrow("sd1"))
    with pytest.raises(Missing, match=rf"another commit than .*{COMMIT}\. .* model\.revision=null"):
        hub.locate(SD15, "pinned")
    assert hub.locate(SD15, None) == there
    (there.parents[1] / "refs" / "main").write_text("f" * 40)
    with pytest.raises(Missing, match=rf"used with model\.revision={COMMIT}"):
        hub.locate(SD15, None)
    assert hub.locate(SD15, COMMIT) == there
    (there / "model_index.json").unlink()
    with pytest.raises(Missing, match=r"in the cache without model_index\.json"):
        hub.locate(SD15, None)
