"""DRC against its algorithm written out one sample at a time, and cases worked out by hand."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mia_bench.attacks import Calibration, query_fields
from mia_bench.attacks.components import image_similarity
from mia_bench.attacks.components.degradations import Box, most, random_box
from mia_bench.attacks.components.holes.attention_maps import caption_difference
from mia_bench.attacks.components.restoration import restoration_path, restore
from mia_bench.attacks.drc import DRC
from mia_bench.models.memorizer import scaled_linear
from mia_bench.target import Batch, Target
from mia_bench.target.diffusion import keyed_noise
from mia_bench.utils.errors import MiaError


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, Path(__file__).parents[1] / f"helpers/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


parts = load("drc_fixtures")
SHORT = DRC(("inpaint:0.1",), steps=4, n_restore=1)  # a hole of 10 px, rows and columns 11 .. 20
# a batched U-Net and float32 sums round to about 1e-6, which 1 / a_t = 15 at t = 999 magnifies
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture
def build(tiny_unet, random_target):
    """build(prediction_type, unet=None): a fresh target on 32 px images."""

    def make(prediction_type="epsilon", unet=None, **options):
        text = random_target().text
        shape = (4, 8, 8)
        unet = tiny_unet if unet is None else unet
        codec, alphas = parts.LookingCodec(), scaled_linear()
        return Target(unet, codec, text, shape, alphas, prediction_type, **options).eval()

    return make


@pytest.fixture
def batch(random_batch) -> Batch:
    return random_batch(3, size=32)


def rows(batch: Batch, which: list[int]) -> Batch:
    return Batch(
        tuple(batch.sample_id[i] for i in which),
        batch.image[which],
        tuple(batch.caption[i] for i in which),
    )


# --- the algorithm, literally ----------------------------------------------------------------


@torch.no_grad()
def literal_restoration(target, sid, caption, path, eta, start, draw, begin, agree):
    """One sample through null-space projection; `agree` imposes what is known on x0hat."""
    alphas = scaled_linear().double()
    hidden, _ = target.text.embed([caption])
    z = keyed_noise(target.seed, sid, path[0], draw, (4, 8, 8))
    if start < 1:
        z = alphas[path[0]].sqrt().float() * begin + (1 - alphas[path[0]]).sqrt().float() * z
    for k, t in enumerate(path):
        a, b = alphas[t].sqrt().float(), (1 - alphas[t]).sqrt().float()
        raw = target.unet(
            z[None], torch.tensor([t]), encoder_hidden_states=hidden, return_dict=False
        )
        raw = raw[0][0]
        eps = a * raw + b * z if target.prediction_type == "v_prediction" else raw
        x0 = agree((z - b * eps) / a)
        if k + 1 == len(path):
            return x0
        u = path[k + 1]
        n = keyed_noise(target.seed, sid, u, draw, (4, 8, 8))
        a, b = alphas[u].sqrt().float(), (1 - alphas[u]).sqrt().float()
        z = a * x0 + b * (math.sqrt(1 - eta**2) * eps + eta * n)
    raise AssertionError


def literal_hole(target, image, box):
    """Degraded image, its latents, and the known cells of one sample."""
    hidden = torch.zeros(32, 32, dtype=torch.bool)
    hidden[box.top : box.top + box.side, box.left : box.left + box.side] = True
    ring = torch.zeros(32, 32, dtype=torch.bool)
    for y in range(32):
        for x in range(32):
            near = hidden[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].any()
            ring[y, x] = near and not hidden[y, x]
    degraded = image.clone()
    degraded[:, hidden] = image[:, ring].mean(1, keepdim=True)
    known = torch.ones(8, 8, dtype=torch.bool)
    for i in range(8):
        for j in range(8):
            known[i, j] = not hidden[
                max(0, 4 * i - 4) : 4 * i + 8, max(0, 4 * j - 4) : 4 * j + 8
            ].any()
    return degraded, target.latents.encode(degraded[None])[0], known


def literal_features(target, batch, attack, boxes):
    """`mse` and `vae` (B,) of one in-painting task with these holes per row."""
    path = np.rint(np.linspace(round(attack.start * 999), 0, attack.steps)).astype(int).tolist()
    found = []
    for i, sid in enumerate(batch.sample_id):
        caption = "" if attack.condition == "empty" else batch.caption[i]
        values = []
        for k, box in enumerate(boxes[i]):
            _, begin, known = literal_hole(target, batch.image[i], box)
            for j in range(attack.n_restore):
                draw = k * attack.n_restore + j
                z = literal_restoration(
                    target, sid, caption, path, attack.eta, attack.start, draw, begin,
                    lambda x0, known=known, begin=begin: torch.where(known, begin, x0),
                )  # fmt: skip
                original = target.latents.decode(target.latents.encode(batch.image[i][None]))
                restored = target.latents.decode(z[None])
                side = max(math.ceil(1.2 * box.side), 16)
                top = math.floor(box.top + box.side / 2 - side / 2)
                left = math.floor(box.left + box.side / 2 - side / 2)
                top, left = (min(max(v, 0), 32 - side) for v in (top, left))
                a, b = (
                    im.clamp(-1, 1)[:, :, top : top + side, left : left + side]
                    for im in (original, restored)
                )
                big = [
                    F.interpolate(im, (32, 32), mode="bilinear", antialias=True).clamp(-1, 1)
                    for im in (a, b)
                ]
                u, v = (target.latents.encode(im).flatten() for im in big)
                cosine = float(u @ v / (u.norm() * v.norm()))
                values.append((float(((a - b) ** 2).mean()), cosine))
        found.append(np.mean(values, axis=0))
    return np.array(found).T


@pytest.mark.first_look(2)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    "attack",
    [
        SHORT,
        replace(SHORT, n_restore=2, condition="empty", eta=0.0),
        replace(SHORT, start=0.6, tasks=("inpaint:0.05",)),
        replace(SHORT, place="random", n_mask=2, tasks=("inpaint:0.2",)),
    ],
    ids=["default", "null", "start", "random"],
)
def test_equals_the_algorithm(kind, attack, build, batch, measure):
    target = build(kind, seed=3)
    side = round(math.sqrt(float(attack.tasks[0].partition(":")[2]) * 32 * 32))
    if attack.place == "random":
        boxes = [[random_box(3, sid, k, side, 32, 32) for k in range(2)] for sid in batch.sample_id]
    else:
        boxes = [[Box((32 - side) // 2, (32 - side) // 2, side)]] * 3
    mse, vae = literal_features(target, batch, attack, boxes)
    found = measure(attack, target, batch)
    assert set(found) == {"mse", "vae", "ssim"}
    assert found["mse"].shape == (3, 1)
    np.testing.assert_allclose(found["mse"][:, 0], mse, **CLOSE)
    np.testing.assert_allclose(found["vae"][:, 0], vae, **CLOSE)


@pytest.mark.parametrize("task", ["sr:4", "gray"])
def test_pixel_tasks_equal_the_algorithm(task, build, batch, measure):
    target = build()
    attack = replace(SHORT, tasks=(task,), steps=3, start=0.5)
    found = measure(attack, target, batch)["mse"][:, 0]
    expected = []
    for i, sid in enumerate(batch.sample_id):
        x = batch.image[i]

        def known_part(image, task=task):
            if task == "gray":
                return image.mean(0, keepdim=True).expand(3, 32, 32)
            blocks = image.reshape(3, 8, 4, 8, 4).mean((2, 4))
            return blocks[:, :, None, :, None].expand(3, 8, 4, 8, 4).reshape(3, 32, 32)

        def agree(x0, x=x, known_part=known_part):
            image = target.latents.decode(x0[None])[0].clamp(-1, 1)
            return target.latents.encode((known_part(x) + image - known_part(image))[None])[0]

        begin = target.latents.encode(known_part(x)[None])[0]
        z = literal_restoration(
            target, sid, batch.caption[i], [500, 250, 0], 0.85, 0.5, 0, begin, agree
        )
        original = target.latents.decode(target.latents.encode(x[None])).clamp(-1, 1)
        restored = target.latents.decode(z[None]).clamp(-1, 1)
        expected.append(float(((original - restored) ** 2).mean()))
    np.testing.assert_allclose(found, expected, **CLOSE)


# --- cases worked out by hand ----------------------------------------------------------------


@pytest.mark.parametrize("task", ["inpaint:0.1", "gray"])
def test_a_denoiser_that_knows_the_image_restores_it(task, build, batch, measure):
    one = rows(batch, [0])
    target = build()
    z0 = target.latents.encode(one.image)

    def answer(z, t):
        a, b = target.a[t.long()], target.b[t.long()]
        return (z - a * z0) / b

    knowing = build(unet=parts.Answers(answer))
    found = measure(replace(SHORT, tasks=(task,)), knowing, one)
    if task == "gray":  # decoding and encoding at each step is not the identity here
        assert found["vae"][0, 0] > 0.95
        return
    # y of the degraded image is not z0 on cells whose encoder saw the hole; dilation hides those
    assert found["mse"][0, 0] < 1e-6
    assert found["vae"][0, 0] == pytest.approx(1, abs=1e-4)
    assert found["ssim"][0, 0] == pytest.approx(1, abs=1e-3)


@torch.no_grad()
def test_a_silent_denoiser_keeps_scaled_noise_where_nothing_is_known(build, batch):
    target = build(unet=parts.Answers(lambda z, _: torch.zeros_like(z)))
    cond = target.embed(batch.caption)
    path = restoration_path(1000, 5, 1.0)
    known = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    known[..., :3] = True
    z = restore(
        target, batch.sample_id, cond, lambda x: torch.where(known, 7.0, x), path, eta=0.0, draw=2
    )
    noise = target.noise(batch.sample_id, 999, 2) / target.a[999]
    torch.testing.assert_close(z, torch.where(known, 7.0, noise))
    # with eta = 1 only the noise of the last arrival is left, at t = 0
    z = restore(target, batch.sample_id, cond, lambda _: torch.zeros(3, 4, 8, 8), [500, 0], eta=1.0)
    assert z.abs().max() == 0
    z = restore(target, batch.sample_id, cond, lambda x: x, [500], eta=1.0, begin=noise)
    expected = target.add_noise(noise, target.noise(batch.sample_id, 500), 500) / target.a[500]
    torch.testing.assert_close(z, expected)


# --- hidden pixels ---------------------------------------------------------------------------


def test_hidden_pixels_never_matter_before_the_comparison(build, batch):
    keep = torch.ones(32, 32, dtype=torch.bool)
    keep[11:21, 11:21] = False
    poisoned = replace(batch, image_source=torch.where(keep, batch.image, torch.nan))
    clean, hidden = (build().eval() for _ in range(2))
    for attack in (replace(SHORT, start=0.7), SHORT):
        for target in (clean, hidden):
            target.forget()
            target.latents.encoded.clear()
        expected, found = attack.evidence(clean, batch), attack.evidence(hidden, poisoned)
        for name in ("degraded", "restored"):
            assert torch.equal(expected[name], found[name])
        for seen, encoded in zip(clean.latents.encoded, hidden.latents.encoded, strict=True):
            assert torch.equal(seen, encoded)
            assert not torch.isnan(encoded).any()
        assert (expected["restored"] - batch.image)[:, :, ~keep].abs().mean() > 0.1


def test_known_latents_come_back_untouched(build, batch):
    target = build()
    evidence = SHORT.evidence(target, batch)
    z = target.latents.encode(evidence["degraded"])
    expected = target.latents.decode(z).clamp(-1, 1)
    # rows and columns 0..2 lie in latent cell 0, away from hidden cells and bilinear neighbours
    torch.testing.assert_close(evidence["restored"][:, :, :2], expected[:, :, :2])


# --- every row by itself ---------------------------------------------------------------------


@pytest.mark.first_look(2)
@pytest.mark.parametrize(
    "attack",
    [
        SHORT,
        replace(SHORT, place="random", n_mask=2, tasks=("inpaint:0.2", "sr:4"), steps=3),
        replace(SHORT, place="face", face_box="drc_fixtures.bright_corner", steps=2),
    ],
    ids=["centre", "random", "face"],
)
def test_batches_do_not_matter(attack, build, batch, measure):
    batch.image[1, 0, 0, 0] = 1  # a face, for the finder
    expected = measure(attack, build(chunk=2), batch)
    for order in ([2, 0], [1]):
        found = measure(attack, build(), rows(batch, order))
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values[order], **CLOSE)


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("drc", DRC()),
        ("drc_mse", DRC(compare="mse")),
        ("drc_cheap", DRC(steps=10, n_restore=1)),
        ("drc_full", DRC(steps=50, n_restore=4)),
        (
            "drc_tasks",
            DRC(("inpaint:0.1", "inpaint:0.3", "inpaint:0.5", "sr:4", "gray"), n_restore=1),
        ),
    ],
)
def test_yaml(name, attack, experiment):
    assert experiment(f"attack={name}").attacks == {name: attack}


def test_comparing_otherwise_asks_nothing_new():
    assert query_fields(DRC()) == query_fields(DRC(compare="mse", aggregate="agree", agree_fpr=0.1))


def test_nfe_is_what_is_asked(build, batch, measure):
    assert DRC().nfe == (40, 0)
    assert DRC(steps=50, n_restore=4).nfe == (200, 0)
    several = ("inpaint:0.2", "gray")
    for attack in (SHORT, replace(SHORT, place="random", n_mask=3, n_restore=2, tasks=several)):
        target = build()
        measure(attack, target, batch)
        assert target.queries["asked"] == target.queries["forward"] == 3 * attack.nfe[0]
        assert target.queries["backward"] == 0


def test_faces_move_the_hole_and_are_recorded(build, batch, measure):
    attack = replace(SHORT, place="face", face_box="drc_fixtures.bright_corner")
    batch.image[1, 0, 0, 0] = 1
    target = build()
    assert measure(attack, target, batch)["face_found"].tolist() == [[0], [1], [0]]
    degraded = attack.evidence(target, batch)["degraded"]
    corner = degraded[1, :, :10, :10]
    assert torch.equal(corner, corner[:, :1, :1].expand(3, 10, 10))
    low = degraded[0, :, 12:22, 11:21]  # 5 % of 32 px below the centre
    assert torch.equal(low, low[:, :1, :1].expand(3, 10, 10))
    nobody = measure(replace(SHORT, place="face"), target, batch)["face_found"]
    assert nobody.tolist() == [[0], [0], [0]]


@pytest.mark.parametrize(
    ("path", "reason"),
    [("no_such_module.f", "cannot be imported"), ("drc_fixtures.NOT_CALLABLE", "is not callable")],
)
def test_hooks_that_are_not_there(path, reason, build, batch):
    with pytest.raises(MiaError, match=rf"face_box={path} {reason}"):
        replace(SHORT, place="face", face_box=path).features(build(), batch)


def test_evidence_shows_what_was_compared(build, batch, measure):
    target = build()
    found = measure(SHORT, target, batch)["mse"][:, 0]
    evidence = SHORT.evidence(target, batch)
    again = SHORT.evidence(build(), batch)
    assert set(evidence) == {"original", "degraded", "restored"}
    for name, images in evidence.items():
        assert images.shape == (3, 3, 32, 32)
        assert images.abs().max() <= 1
        assert torch.equal(images, again[name])
        assert not images.requires_grad
    reference = target.latents.decode(target.latents.encode(batch.image)).clamp(-1, 1)
    box = (slice(None), slice(None), slice(8, 24), slice(8, 24))
    expected = (reference - evidence["restored"])[box].square().mean((1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# --- comparison ------------------------------------------------------------------------------


def test_face_encoder(build, batch, measure):
    attack = replace(SHORT, measures=("face", "vae"), face_encoder="drc_fixtures.colours")
    found = measure(attack, build(), batch)["face"]
    assert found.shape == (3, 1)
    assert (np.abs(found) <= 1 + 1e-6).all()


def test_open_clip_without_weights_names_a_way_on(build, batch, monkeypatch):
    import open_clip

    def refuse(*_args, **_options):
        raise RuntimeError("no network")

    monkeypatch.setattr(open_clip, "create_model", refuse)
    attack = replace(SHORT, measures=("open_clip",), compare="open_clip", clip="ViT-Z/nobody")
    with pytest.raises(MiaError, match=r"'ViT-Z/nobody' cannot be loaded \(Runt.*compare=vae"):
        attack.features(build(), batch)


def test_what_is_missing_is_known_before_a_model_is_loaded(monkeypatch, tmp_path):
    import open_clip

    clip = replace(SHORT, measures=("vae", "open_clip"))
    with pytest.raises(MiaError, match="names no model of open_clip"):
        replace(clip, clip="ViT-Z/nobody").fetch()
    with pytest.raises(MiaError, match="known: ViT-B-32/openai"):
        replace(clip, clip="ViT-B-32/nobody").fetch()

    def refuse(*_args, **_options):
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "download_pretrained", refuse)
    with pytest.raises(MiaError, match=r"laion2b_s34b_b79k' cannot be loaded \(OSError\).*=vae"):
        clip.fetch()
    with pytest.raises(MiaError, match="no safetensors weights in local-dir:"):
        replace(clip, clip=f"local-dir:{tmp_path}").fetch()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MiaError, match="AlexNet weights"):
        replace(SHORT, measures=("vae", "lpips")).fetch()
    with pytest.raises(MiaError, match=r"face_box=no\.where cannot be imported"):
        replace(SHORT, place="face", face_box="no.where").fetch()
    SHORT.fetch()


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        ({"tasks": ("inpaint:0.999",)}, 32, "a mask ratio of 0.999 is a square of 32 px"),
        ({"tasks": ("sr:4",)}, 30, "sr:4 does not divide 30 x 30"),
        ({"steps": 1001}, 32, "1001 restoration steps do not fit"),
    ],
)
def test_options_that_do_not_fit_a_model_are_known_without_it(change, size, message):
    with pytest.raises(MiaError, match=message):
        replace(SHORT, **change).check(1000, size)
    SHORT.check(1000, 32)


def test_semantic_similarity_has_pixel_error_beside_it():
    name, plain, remark = DRC().plain()
    assert (name, plain.compare) == ("pixel error", "mse")
    assert query_fields(plain) == query_fields(DRC())
    assert "untested offline" in remark
    clip = DRC(measures=("open_clip", "mse"), compare="open_clip")
    assert "open_clip does not tell members better" in clip.plain()[2]
    assert DRC(compare="mse").plain() is None
    assert DRC(measures=("vae",)).plain() is None


def test_open_clip_sees_normalised_crops_of_its_own_size(build, batch, measure, monkeypatch):
    import open_clip

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = torch.nn.Module()
            self.visual.image_size, self.visual.image_mean = (40, 40), (0.5, 0.5, 0.5)
            self.visual.image_std = (0.5, 0.5, 0.5)
            self.seen = []

        def encode_image(self, image):
            self.seen.append(image)
            return image.mean((2, 3))

    model = Model()
    monkeypatch.setattr(open_clip, "create_model", lambda *_args, **_options: model)
    attack = replace(SHORT, measures=("open_clip",), compare="open_clip", clip="fake/fake")
    found = measure(attack, build(), batch)["open_clip"]
    assert found.shape == (3, 1)
    assert {tuple(image.shape) for image in model.seen} == {(3, 3, 40, 40)}
    assert all(image.abs().max() <= 1 + 1e-6 for image in model.seen)
    image_similarity.open_clip_encoder.cache_clear()


def test_lpips_without_weights_downloads_nothing(build, batch, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    attack = replace(SHORT, measures=("lpips", "vae"))
    with pytest.raises(MiaError, match=r"AlexNet weights.*compare=vae"):
        attack.features(build(), batch)


# --- score -----------------------------------------------------------------------------------

KNOWN = Calibration(
    {
        "vae": np.array([[0.9, 0.8], [0.8, 0.9], [0.1, 0.4], [0.3, 0.4], [0.5, 0.7], [0.1, 0.1]]),
        "mse": np.array([[0.1], [0.1], [0.4], [0.6], [0.5], [0.5]]),
    },
    np.array([True, True, False, False, False, False]),
    np.arange(6).astype(str),
)
FOUND = {
    "vae": np.array([[0.25, 0.4], [0.9, 0.9], [0.4, 0.75], [0.6, 0.2]]),
    "mse": np.array([[0.5], [0.1], [0.9], [0.5]]),
}
TWO = DRC(tasks=("inpaint:0.3", "gray"))


def test_mean_of_z_scores_by_hand():
    # non-members: task 1 has mean 0.25 and variance 0.0275, task 2 mean 0.4 and variance 0.045
    z1 = (np.array([0.25, 0.9, 0.4, 0.6]) - 0.25) / math.sqrt(0.0275)
    z2 = (np.array([0.4, 0.9, 0.75, 0.2]) - 0.4) / math.sqrt(0.045)
    np.testing.assert_allclose(TWO.score(FOUND, KNOWN), (z1 + z2) / 2, atol=1e-6)


def test_a_small_distance_is_a_member():
    scores = DRC(compare="mse").score(FOUND, KNOWN)
    np.testing.assert_allclose(
        scores, np.array([0, 0.4, -0.4, 0]) / np.std([4, 6, 5, 5]) * 10, atol=1e-5
    )


def test_agree_counts_votes_by_hand():
    agree = replace(TWO, aggregate="agree", agree_fpr=0.25)  # one false positive of four is allowed
    assert agree.chosen(KNOWN) == {"inpaint:0.3": 0.3, "gray": 0.4}
    assert agree.score(FOUND, KNOWN).tolist() == [0, 2, 2, 1]  # 0.4 > 0.4 is no vote
    strict = replace(agree, agree_fpr=0.05)  # none is
    assert strict.chosen(KNOWN) == {"inpaint:0.3": 0.5, "gray": 0.7}
    assert strict.score(FOUND, KNOWN).tolist() == [0, 2, 1, 1]
    assert TWO.chosen(KNOWN) == {}


@pytest.mark.parametrize("aggregate", ["mean", "agree"])
def test_rows_are_scored_one_by_one(aggregate, attack_fixtures):
    attack_fixtures.assert_row_by_row(replace(TWO, aggregate=aggregate), FOUND, KNOWN)


def test_a_constant_similarity_is_no_division_by_zero():
    known = Calibration(
        {"vae": np.ones((4, 1))}, np.array([True, True, False, False]), np.arange(4)
    )
    assert DRC().score({"vae": np.ones((2, 1))}, known).tolist() == [0, 0]


def test_finds_what_a_memorizer_memorised(judge, memorized):
    for attack in (replace(SHORT, steps=8), replace(SHORT, steps=8, compare="mse")):
        verdict = judge(attack, memorized)
        assert verdict.auroc > 0.9
        assert not verdict.fooled


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tasks": ()}, "at least one is needed"),
        ({"tasks": ("gray", "gray")}, "each once"),
        ({"tasks": ("inpaint:0",)}, "ratio between 0 and 1"),
        ({"tasks": ("inpaint:1",)}, "ratio between 0 and 1"),
        ({"steps": 0}, "at least 1"),
        ({"start": 0.0}, "start lies in"),
        ({"eta": 1.5}, "eta in"),
        ({"agree_fpr": 0.0}, "agree_fpr in"),
        ({"compare": "lpips"}, r"measures=\[vae,mse,ssim,lpips\]"),
        ({"n_mask": 2}, "place=random"),
        ({"n_mask": 2, "place": "random", "tasks": ("gray",)}, "place=random"),
        ({"measures": ("vae", "face")}, "face_encoder"),
    ],
)
def test_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        DRC(**options)


def test_refused_once_sizes_are_known(build, batch):
    with pytest.raises(MiaError, match="no known cell"):
        replace(SHORT, tasks=("inpaint:0.8",)).features(build(), batch)
    with pytest.raises(MiaError, match="does not divide 32 x 32"):
        replace(SHORT, tasks=("sr:5",)).features(build(), batch)


def test_a_schedule_that_ends_in_pure_noise_starts_where_something_is_left(random_target, batch):
    """Zero terminal signal: a = 0 at t = 999, and the estimate of the clean image divides by a."""
    from diffusers import DDPMScheduler

    from mia_bench.target import Target

    betas = DDPMScheduler(
        1000, 0.00085, 0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=True
    )
    parts = random_target(size=batch.image.shape[-1])
    target = Target(
        *(parts.unet, parts.latents, parts.text, parts.latent_shape, betas.alphas_cumprod),
        prediction_type="v_prediction",
    ).eval()
    assert target.a[999] == 0
    assert target.timesteps_with_signal == 999
    features = DRC(measures=("vae", "mse"), steps=4).features(target, batch)
    assert all(torch.isfinite(values).all() for values in features.values())


# --- pixel space, masks and regions ----------------------------------------------------------


def in_pixels(target):
    """The target with images as latents."""
    from mia_bench.models.ddpm.builder import DDPM

    model = DDPM(None, 16, (8, 16), norm_groups=4)
    return model.build(model.load_unet(), seed=target.seed if target else 0)


@torch.no_grad()
def test_in_pixel_space_the_hole_is_exact_and_estimates_are_clipped(random_batch):
    target, batch = in_pixels(None), random_batch(2)
    attack = DRC(("inpaint:0.3",), steps=4, n_restore=1)
    images = attack.evidence(target, batch)
    changed = (images["restored"] != images["original"]).any(1)
    assert changed.flatten(1).sum(1).tolist() == [81, 81]  # a hole of 9 px and nothing else
    path = restoration_path(1000, 4, 1.0)
    seen = []
    restore(target, batch.sample_id, target.null(batch), lambda x: seen.append(x) or x, path, 0.85)
    assert max(float(x.abs().max()) for x in seen) <= 1


def test_evidence_shows_every_ratio_in_a_row(random_batch):
    target, batch = in_pixels(None), random_batch(2)
    attack = DRC(("inpaint:0.1", "inpaint:0.5"), steps=2, n_restore=1)
    images = attack.evidence(target, batch)
    assert list(images) == ["original"] + [
        f"{task} {state}" for task in attack.tasks for state in ("degraded", "restored")
    ]
    for task in attack.tasks:
        alone = replace(attack, tasks=(task,)).evidence(target, batch)
        assert torch.equal(images[f"{task} restored"], alone["restored"])
    changed = [(images[f"{t} degraded"] != images["original"]).any(1).sum() for t in attack.tasks]
    assert changed == [2 * 5**2, 2 * 11**2]


@pytest.mark.parametrize("mask", ["edges", "spectral_residual"])
def test_saliency_says_what_is_hidden(mask, random_batch, measure):
    target, batch = in_pixels(None), random_batch(2)
    attack = DRC(
        ("inpaint:0.2",), steps=2, mask=mask, measures=("hole_mse", "spread"), compare="spread"
    )
    found = measure(attack, target, batch)
    assert set(found) == {"hole_mse", "spread"}
    images = attack.evidence(target, batch)
    changed = (images["restored"] != images["original"]).any(1)
    assert changed.flatten(1).sum(1).tolist() == [51, 51]


def test_what_the_caption_is_about_is_hidden(build, random_batch, measure):
    target, batch = build(), random_batch(2, size=32)
    attack = DRC(("inpaint:0.2",), steps=2, mask="caption", paste=True,
                 measures=("hole_mse", "spread"), compare="spread")  # fmt: skip
    found = measure(attack, target, batch)
    assert target.queries["forward"] == 2 * attack.nfe[0] == 2 * (2 * 2 + 6)
    images = attack.evidence(target, batch)
    changed = (images["restored"] != images["original"]).any(1)
    assert changed.flatten(1).sum(1).tolist() == [205, 205]  # a fifth of 32 x 32
    hidden = ~most(caption_difference(target, batch), 0.2)[:, 0]
    assert torch.equal(changed, hidden)
    other = measure(replace(attack, mask="edges"), target, batch)
    assert not np.allclose(found["hole_mse"], other["hole_mse"])


def test_pasting_leaves_the_hole_alone(random_batch, measure):
    target, batch = in_pixels(None), random_batch(2)
    plain = DRC(("sr:4", "inpaint:0.3"), steps=2, measures=("hole_mse", "whole_mse"),
                compare="hole_mse")  # fmt: skip
    found, pasted = (
        measure(attack, target, batch) for attack in (plain, replace(plain, paste=True))
    )
    np.testing.assert_allclose(found["hole_mse"], pasted["hole_mse"], rtol=1e-5)
    np.testing.assert_allclose(
        pasted["whole_mse"][:, 1], found["hole_mse"][:, 1] * 81 / 256, rtol=1e-4
    )


def test_newer_options_are_in_no_older_key():
    assert not {"mask", "paste", "mask_encoder"} & set(query_fields(DRC()))
    assert query_fields(DRC(mask="edges", paste=True))["mask"] == "edges"
    with pytest.raises(ValueError, match="n_restore must be at least 2"):
        DRC(n_restore=1, measures=("spread",), compare="spread")
    with pytest.raises(ValueError, match="leave out place=face"):
        DRC(mask="edges", place="face")
    with pytest.raises(ValueError, match="mask_encoder=<folder or hub id> go together"):
        DRC(mask="self_attention")
    with pytest.raises(ValueError, match="mask_encoder=<folder or hub id> go together"):
        DRC(mask_encoder="somewhere")
