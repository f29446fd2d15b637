"""What every attack in conf/attack promises, whoever wrote it; new yamls are found by the glob."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from attack_nodes import FILES, NODES, parameters, question
from torch import Tensor, nn

from mia_bench.attacks import Access, Attack
from mia_bench.config.instantiate import build
from mia_bench.target import Batch, Target

# Attacks that are slow to ask or to fit get fewer rows; everything is checked all the same.
FEW_ROWS = {
    "noise_probe": 24,  # 300 evaluations per row
    "gen_sim": 24,  # 80 evaluations per row
    "img2img": 24,  # 30 evaluations per row, and the autoencoder
    "drc_full": 24,  # 200 evaluations per row
    "drc_tasks": 24,  # 100, at four times the pixels
    "mofit_lite": 24,  # 60 gradients per row
    "gsa2": 24,  # ten gradients per row, one by one
    "pfami_nns": 24,  # 110 evaluations per row, 110 steps of a ResNet
}
# Half of the image hidden and one cell around it leave nothing of 8 x 8 latents.
SIZE = {"drc_tasks": 32}
# Attacks that face the memorizer with other options, and why; None asks for no AUROC at all.
ON_THE_MEMORIZER: dict[str, tuple[str, dict[str, Any] | None]] = {
    "noise_agg_null": ("the memorizer has no memory under the null caption, by construction", None),
    "structural": (
        "a member's path is straight there and only shrinks the latent, an unseen image keeps its "
        "contrast, so that the similarity turns round",
        None,
    ),
    "noise_probe": ("it compares a model with its base, and the memorizer has none", None),
    "gradient_masking": (
        "at small t the noise put into a memorised latent leads out of its narrow component",
        {"timesteps": (500, 600, 700, 800, 900)},
    ),
    "mofit_lite": (
        "the memorizer has no memory under the null caption, by construction, and conditions of "
        "unit norm, which large steps leave",
        {"against": "caption", "lr": 0.002, "steps": 60},
    ),
    "pfami_nns": ("a third of the steps is enough to tell these rows apart", {"steps": 40}),
}

# Sixty memorised images cost these seconds; their own tests look at what they score.
DEAR_EXAMS = {"gen_sim", "img2img", "rf_curve"}

# float32 sums run in another order for another number of rows; a chain of U-Net calls, a ratio or a
# logarithm of small differences multiplies the last digits
ROWS_AGREE = 2e-3

GREY_BOX = {
    *("encode", "decode", "view", "embed", "pad_token", "null", "noise", "add_noise"),
    *("predict_noise", "predict_grid", "move", "denoise", "remember"),
    *("decoder_influence", "base"),
    *("a", "b", "timesteps", "timesteps_with_signal", "in_pixels", "latent_shape"),
    *("chunk", "device", "seed", "queries"),
}
BLACK_BOX = {"generate", "image_to_image", "device", "seed", "queries"}
ALLOWED = {Access.BLACK_BOX: BLACK_BOX, Access.GREY_BOX: GREY_BOX}


class Guarded:
    """A target that lets nothing above `level` through."""

    def __init__(self, target: Target, level: Access) -> None:
        self._target, self._level = target, level

    def __getattr__(self, name: str) -> Any:
        allowed = ALLOWED.get(self._level)
        if allowed is not None and name not in allowed | ALLOWED[Access.BLACK_BOX]:
            raise AssertionError(f"target.{name} is above {self._level.name}")
        return getattr(self._target, name)


class NoGradients(nn.Module):
    """A U-Net that answers only where no gradient can follow."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.inside = [unet]  # hidden from nn.Module: there are no parameters to be had

    def forward(self, *args: Any, **rest: Any) -> Any:
        assert not torch.is_grad_enabled(), "gradients are white-box"
        return self.inside[0](*args, **rest)


class Answers(NamedTuple):
    """Features of one batch, the same again, and of its rows one by one with what they cost; and
    the timesteps that the network was told."""

    whole: dict[str, Tensor]
    again: dict[str, Tensor]
    rows: list[dict[str, Tensor]]
    cost: list[tuple[int, int]]
    timesteps: set[int]


def row_of(batch: Batch, i: int) -> Batch:
    return Batch((batch.sample_id[i],), batch.image[i : i + 1], (batch.caption[i],))


def ask(attack: Attack, target: Target, batch: Batch) -> dict[str, Tensor]:
    target.forget()
    target.start_attack()
    with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
        features = attack.features(Guarded(target, attack.access), batch)  # type: ignore[arg-type]
    return {name: value.detach() for name, value in features.items()}


@pytest.fixture(scope="module", params=parameters(NODES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def attack(name: str) -> Attack:
    made: Attack = build(NODES[name], f"attack.{name}")
    return made


@pytest.fixture(scope="module")
def asked() -> dict[str, Answers]:
    """Answers so far by question: attacks that only score differently share them, as in a run."""
    return {}


@pytest.fixture(scope="module")
def answers(
    name: str,
    attack: Attack,
    asked: dict[str, Answers],
    random_target: Callable[..., Target],
    random_batch: Callable[..., Batch],
    tiny_unet: nn.Module,
) -> Answers:
    """On a random v-predicting network, guarded at the declared level of access."""
    key = f"{question(attack)} {name in FEW_ROWS} {SIZE.get(name)}"
    if key not in asked:
        asked[key] = answers_of(name, attack, random_target, random_batch, tiny_unet)
    return asked[key]


def answers_of(
    name: str,
    attack: Attack,
    random_target: Callable[..., Target],
    random_batch: Callable[..., Batch],
    tiny_unet: nn.Module,
) -> Answers:
    size, captions = SIZE.get(name, 16), ("", "word", "two words", *random_batch(2).caption)
    n = 2 if name in FEW_ROWS else 5  # the last two captions are long ones
    drawn = random_batch(n, 0, size)
    batch = Batch(drawn.sample_id, drawn.image, captions[-n:])
    unet = tiny_unet if attack.access is Access.WHITE_BOX else NoGradients(tiny_unet)
    target = random_target("v_prediction", unet=unet, size=size)
    told: set[int] = set()
    hook = tiny_unet.register_forward_pre_hook(
        lambda _, inputs: told.update(inputs[1].flatten().tolist())
    )
    whole, again = ask(attack, target, batch), ask(attack, target, batch)
    hook.remove()
    rows, cost = [], []
    for i in range(n):
        before = target.queries.copy()
        rows.append(ask(attack, target, row_of(batch, i)))
        paid = target.queries - before
        cost.append((paid["asked"], paid["backward"]))
    return Answers(whole, again, rows, cost, told)


def test_the_glob_finds_attacks() -> None:
    assert {"clid", "clid_vec", "loss", "mc"} <= NODES.keys()
    stems = {path.stem for path in FILES} - {"all"}
    assert stems <= NODES.keys()
    for table in (FEW_ROWS, SIZE, ON_THE_MEMORIZER):
        assert table.keys() <= NODES.keys()


COST = re.compile(r"NFE (\d+)(?: \+ (\d+) backward)?")


def test_its_yaml_says_what_it_costs(name: str, attack: Attack) -> None:
    (text,) = (path.read_text() for path in FILES if f"\n{name}:\n" in path.read_text())
    forward, backward = COST.search(text).groups(default="0")
    assert (int(forward), int(backward)) == attack.nfe


def test_the_page_of_attacks_says_what_each_costs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    header = next(row for row in rows if row[:1] == ["name"])
    told = {row[0]: row[header.index("NFE")] for row in rows if row and row[0] in NODES}
    counted = {
        name: " + ".join(str(n) for n in build(node, name).nfe if n) for name, node in NODES.items()
    }
    assert told == counted


def test_the_readme_names_attacks_that_exist() -> None:
    """In its table of families each is named in code or stands for all that begin like it."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    table = readme.partition("| family |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", table))
    assert len(named) >= 20
    assert named <= set(NODES)


def test_labels_cannot_be_reached() -> None:
    assert [f.name for f in fields(Batch)] == ["sample_id", "image_source", "caption"]


def test_declaration(attack: Any) -> None:
    assert isinstance(attack.access, Access)
    assert isinstance(attack.version, int)
    assert attack.version >= 1
    assert isinstance(attack.statistics, bool)
    forward, backward = attack.nfe
    assert forward >= 0
    assert (backward > 0) == (attack.access is Access.WHITE_BOX)
    assert list(signature(attack.features).parameters) == ["target", "batch"]
    assert list(signature(attack.score).parameters) == ["features", "calibration"]
    with pytest.raises(FrozenInstanceError):
        setattr(attack, fields(attack)[0].name, None)


def test_features_are_one_finite_row_per_sample(answers: Answers) -> None:
    assert answers.whole
    for value in answers.whole.values():
        assert value.shape[0] == len(answers.rows)
        assert value.is_floating_point()
        assert value.isfinite().all()
        assert not value.requires_grad


def test_features_are_deterministic(answers: Answers) -> None:
    assert answers.whole.keys() == answers.again.keys()
    for key, value in answers.whole.items():
        assert torch.equal(value, answers.again[key]), key


def test_batch_size_does_not_matter(answers: Answers) -> None:
    for key, value in answers.whole.items():
        alone = torch.cat([row[key] for row in answers.rows])
        scale = value.abs().median().item()
        torch.testing.assert_close(
            alone, value, rtol=ROWS_AGREE, atol=ROWS_AGREE * scale, msg=lambda m, k=key: f"{k}: {m}"
        )


def test_a_row_costs_what_is_declared(attack: Attack, answers: Answers) -> None:
    """Equal questions are asked once, so a short caption may cost less; a long one may not."""
    for forward, backward in answers.cost:
        assert forward <= attack.nfe[0]
        assert backward <= attack.nfe[1]
    assert answers.cost[-2:] == [attack.nfe, attack.nfe]


def test_it_says_at_which_timesteps_it_asks(attack: Attack, answers: Answers) -> None:
    assert answers.timesteps == set(attack.asks_at(1000))


@pytest.fixture(scope="module")
def exam_of(examine: Callable[..., Any], memorize: Callable[..., Any]) -> Callable[..., Any]:
    """exam_of(attack, n, size, seed=0): its exam on n memorised images, once for each question."""
    exams: dict[tuple[str, int, int, int], Any] = {}

    def exam(attack: Attack, n: int, size: int, seed: int = 0) -> Any:
        key = question(attack), n, size, seed
        if key not in exams:
            exams[key] = examine(attack, memorize(n, seed=seed, size=size))
        return exams[key]

    return exam


@pytest.mark.parametrize("name", parameters(NODES, DEAR_EXAMS), indirect=True, scope="module")
def test_it_finds_members_and_nothing_else(
    name: str, attack: Any, exam_of: Callable[..., Any]
) -> None:
    """One interval in twenty misses 0.5 by chance: a miss must repeat on other images."""
    n, size = FEW_ROWS.get(name, 60), SIZE.get(name, 16)
    reason, change = ON_THE_MEMORIZER.get(name, ("", {}))
    judged = replace(attack, **change) if change else attack
    exam = exam_of(judged, n, size)
    scores = judged.score(exam.rows, exam.known)
    assert scores.shape == (3 * exam.each,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    verdict = exam.verdict(scores)
    assert change is None or verdict.auroc > 0.95, reason
    if verdict.fooled:
        other = exam_of(judged, n, size, seed=1)
        again = other.verdict(judged.score(other.rows, other.known))
        assert not again.fooled, (verdict.nothing, again.nothing)

    picked = np.random.default_rng(0).permutation(len(scores))[: len(scores) // 3]
    part = judged.score({key: value[picked] for key, value in exam.rows.items()}, exam.known)
    # row by row; a network's sums depend on the number of rows in the last digits
    np.testing.assert_allclose(part, scores[picked], rtol=1e-4, atol=1e-6)


# --- the guards themselves -----------------------------------------------------------------------


@dataclass(frozen=True)
class Prying:
    """Reads one attribute of the target."""

    what: str
    access: Access
    version: int = 1
    statistics: bool = True
    nfe: tuple[int, int] = (1, 0)

    def features(self, target: Any, batch: Batch) -> dict[str, Tensor]:
        getattr(target, self.what)
        with torch.enable_grad():
            eps = target.predict_noise(target.encode(batch.image), 5, target.embed(batch.caption))
        return {"eps": eps}

    def score(self, features: Any, calibration: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("what", "level"),
    [
        ("unet", Access.GREY_BOX),
        ("parameters", Access.GREY_BOX),
        ("latents", Access.GREY_BOX),
        ("engine", Access.GREY_BOX),
        ("predict_noise", Access.BLACK_BOX),
        ("encode", Access.BLACK_BOX),
    ],
)
def test_guard_refuses_what_is_above_the_level(
    what: str,
    level: Access,
    random_target: Callable[..., Target],
    random_batch: Callable[..., Batch],
) -> None:
    with pytest.raises(AssertionError, match=f"target.{what} is above {level.name}"):
        ask(Prying(what, level), random_target(), random_batch(2))


def test_guard_refuses_gradients_below_white_box(
    random_target: Callable[..., Target],
    random_batch: Callable[..., Batch],
    tiny_unet: nn.Module,
) -> None:
    target = random_target(unet=NoGradients(tiny_unet))
    assert not list(target.unet.parameters())
    with pytest.raises(AssertionError, match="gradients are white-box"):
        ask(Prying("seed", Access.GREY_BOX), target, random_batch(2))
    ask(Prying("unet", Access.WHITE_BOX), random_target(), random_batch(2))
