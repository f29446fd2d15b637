"""The patterns of files: what they fetch is all that is read."""

from __future__ import annotations

import shlex
import shutil
from fnmatch import fnmatch

import pytest

from mia_bench.models import hub
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import Missing


@pytest.mark.first_look
@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("shard", ["10GB", "40KB"])
def test_the_printed_command_fetches_all_that_is_read(shard, variant, pipelines, tmp_path):
    folder = pipelines.save_pipeline(tmp_path / "m", "sd1", variant=variant, shard=shard)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"")
    with pytest.raises(Missing) as caught:
        hub.locate("someone/model", None, variant)
    (line,) = [one for one in str(caught.value).splitlines() if "hf download" in one]
    words = shlex.split(line)
    wanted = [words[i + 1] for i, word in enumerate(words) if word == "--include"]
    (tmp_path / "copy").mkdir()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and any(fnmatch(name, pattern) for pattern in wanted):
            (tmp_path / "copy" / name).parent.mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "copy" / name)
    copied = [p.name for p in (tmp_path / "copy").rglob("*")]
    assert not any(".bin" in name or "non_ema" in name for name in copied)
    models = [StableDiffusion(str(at), 64, variant=variant) for at in (folder, tmp_path / "copy")]
    assert models[0].base_hash() == models[1].base_hash()
    models[1].check()
