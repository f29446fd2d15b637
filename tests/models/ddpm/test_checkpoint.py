"""Checkpoints of the pytorch-ddpm layout against its network, written out in helpers."""

from __future__ import annotations

import pytest
import torch
from pytorch_ddpm import Network

from mia_bench.models.ddpm.builder import DDPM
from mia_bench.models.ddpm.checkpoint import converted, layout_of, read_checkpoint
from mia_bench.utils.errors import MiaError


@pytest.fixture(scope="module")
def network() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network().eval()


@pytest.fixture
def file(network, tmp_path):
    path = tmp_path / "ckpt.pt"
    content = {"net_model": {}, "ema_model": network.state_dict(), "step": 800_000}
    torch.save(content, path)
    return path


def ddpm(path, **options) -> DDPM:
    return DDPM(str(path), 16, train_timesteps=40, **options)


@torch.no_grad()
def test_the_network_answers_as_the_one_of_the_layout(network, file):
    unet = ddpm(file).load_unet()
    x, t = torch.randn(3, 3, 16, 16), torch.tensor([0, 7, 39])
    torch.testing.assert_close(unet(x, t)[0], network(x, t), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(
    "sizes",
    [{"multiples": (1, 2, 2), "attends": (), "blocks": 1}, {"multiples": (1, 1), "attends": (0,)}],
)
def test_other_sizes_are_read_from_the_shapes(sizes, tmp_path):
    network = Network(**sizes).eval()
    torch.save({"ema_model": {f"module.{k}": v for k, v in network.state_dict().items()}},
               tmp_path / "x.pt")  # fmt: skip
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 11])
    unet = ddpm(tmp_path / "x.pt").load_unet()
    torch.testing.assert_close(unet(x, t)[0], network(x, t), atol=1e-5, rtol=0)


def test_the_layout_is_read(network):
    layout = layout_of(network.state_dict(), "a.pt")
    assert (layout.widths, layout.layers, layout.attends, layout.timesteps) == (
        (32, 64), 2, (False, True), 40,
    )  # fmt: skip


def test_partial_and_foreign_tensors_are_named(network):
    weights = dict(network.state_dict())
    partial = {k: v for k, v in weights.items() if k != "upblocks.1.block1.2.bias"}
    with pytest.raises(MiaError, match=r"lacks 1 tensors .*upblocks\.1\.block1\.2\.bias"):
        converted(partial, "a.pt")
    with pytest.raises(MiaError, match=r"1 tensors that have no place .*extra\.weight"):
        converted({**weights, "extra.weight": torch.ones(1)}, "a.pt")
    with pytest.raises(MiaError, match=r"lacks 2 tensors .*head\.weight"):
        converted({"conv_in.weight": torch.ones(1)}, "a.pt")
    for name, value in (("head.weight", (32, 1, 3, 3)), ("upblocks.1.block1.2.bias", (7,))):
        with pytest.raises(MiaError, match=rf"other shapes .*{name} is .*\[32, 3|{name} is \[7\]"):
            converted({**weights, name: torch.ones(value)}, "a.pt")
    table = "time_embedding.timembedding.0.weight"
    with pytest.raises(MiaError, match="another table of time embeddings"):
        converted({**weights, table: weights[table] + 1}, "a.pt")


def test_files_that_are_no_checkpoint(tmp_path):
    torch.save({"model": {}}, tmp_path / "a.pt")
    with pytest.raises(MiaError, match=r"has no ema_model.* holds: model\. .*save \{'ema_model'"):
        read_checkpoint(tmp_path / "a.pt")
    torch.save({"ema_model": print}, tmp_path / "b.pt")
    with pytest.raises(MiaError, match="holds more than tensors"):
        read_checkpoint(tmp_path / "b.pt")
    (tmp_path / "c.pt").write_bytes(b"no archive")
    with pytest.raises(MiaError, match=r"c\.pt (cannot be read|holds more)"):
        read_checkpoint(tmp_path / "c.pt")


def test_the_schedule_and_the_images_fit_the_file(file):
    with pytest.raises(MiaError, match=r"trained on 40 timesteps: use model\.train_timesteps=40"):
        DDPM(str(file), 16).load_unet()
    with pytest.raises(MiaError, match=r"model\.resolution=15 .*multiple of 2"):
        DDPM(str(file), 15, train_timesteps=40).load_unet()
    ddpm(file).check()
    for model in (DDPM(str(file), 16), DDPM(str(file), 15, train_timesteps=40)):
        with pytest.raises(MiaError, match=r"train_timesteps=40|multiple of 2"):
            model.check()
    torch.save({"model": {}}, file)  # another file at the same place is read again
    with pytest.raises(MiaError, match="has no ema_model"):
        ddpm(file).check()


def test_the_key_follows_the_content(file, tmp_path, network):
    before = ddpm(file).base_hash()
    torch.save({"ema_model": network.state_dict(), "step": 1}, tmp_path / "other.pt")
    assert ddpm(tmp_path / "other.pt").base_hash() != before
    assert ddpm(file, beta_end=0.01).base_hash() != before
    assert ddpm(file, chunk=2).base_hash() == before
