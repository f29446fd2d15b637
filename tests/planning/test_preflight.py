"""Runs that cannot end well are refused before a model is loaded, each in one clear message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pytest

from mia_bench.attacks.drc import DRC
from mia_bench.attacks.loss import Loss
from mia_bench.attacks.rectified_flow.rf_curve import LossCurve
from mia_bench.attacks.secmi import SecMI
from mia_bench.data.source import Listing
from mia_bench.execution.run import execute
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.planning.make_plan import make_plan
from mia_bench.planning.preflight import check_schedule, fetch
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class Uncaptioned:
    """A source whose captions are left out."""

    source: object

    @property
    def name(self):
        return self.source.name

    @property
    def licence(self):
        return self.source.licence

    @cached_property
    def listing(self):
        listing = self.source.items()
        return Listing(tuple(replace(item, caption=" ") for item in listing.items))

    def items(self):
        return self.listing


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture
def no_weights(monkeypatch):
    """Loading anything is an error of the test."""

    def refuse(*_args, **_options):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(StableDiffusion, "load_unet", refuse)
    monkeypatch.setattr(StableDiffusion, "build", refuse)


@pytest.mark.first_look(2)
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["attack=structural", "attack.structural.t=1000"],
            "attack structural: t=1000 is where .* schedule of 1000 steps. Use a multiple of k=50",
        ),
        (
            ["attack=noise_probe", "attack.noise_probe.steps=2000"],
            "attack noise_probe: steps=2000 do not fit into a schedule of 1000. Use 1000 or fewer",
        ),
        (
            ["attack=noise_probe", "attack.noise_probe.inversion_steps=1001"],
            "attack noise_probe: inversion_steps=1001 do not fit",
        ),
        (["attack=loss", "attack.loss.t=1000"], "attack loss: timestep 1000 is outside the sched"),
        (["attack=clid", "attack.clid.timesteps=[440,-5]"], "attack clid: timestep -5 is outside"),
        (["attack=secmi", "attack.secmi.t_sec=990"], "attack secmi: timestep 1000 is outside"),
        (["attack=mc", "attack.mc.timesteps=[2000]"], "schedule of 1000 steps. Change attack.mc"),
        (["attack=gsa", "attack.gsa.n_timesteps=1001"], "attack gsa: n_timesteps=1001 do not fit"),
        (["attack=drc", "+attack.drc.start=0.001"], "attack drc: 20 restoration steps do not fit"),
        (
            ["attack=fremia", "attack.fremia.radius=9"],
            "attack fremia: radius=9 is a filter of 18 .* larger than the 16 x 16 latents: .* 8",
        ),
        (["attack=clid_f", "attack.clid_f.radius=9"], "attack clid_f: radius=9 .* 16 x 16 latents"),
        (["attack=drc", "attack.drc.tasks=[inpaint:0.99]"], "attack drc: a mask ratio of 0.99"),
        (["attack=drc_tasks", "attack.drc_tasks.tasks=[sr:5]"], "sr:5 does not divide 64 x 64"),
        (
            ["attack=drc", "attack.drc.measures=[vae,open_clip]", "+attack.drc.clip=ViT-B-32/none"],
            "attack drc: open_clip weights 'ViT-B-32/none': known: .*compare=vae",
        ),
        (
            ["attack=drc_face", "attack.drc_face.face_box=nowhere.at_all"],
            "attack drc_face: face_box=nowhere.at_all cannot be imported",
        ),
        (["eval.blind_encoder=ViT-B-32/none"], "known: ViT-B-32/openai.*eval.blind_encoder=null"),
    ],
)
@pytest.mark.usefixtures("no_weights")
def test_what_does_not_fit_is_refused_before_anything_is_loaded(overrides, message, small, outputs):
    with pytest.raises(MiaError, match=message):
        execute(small(*overrides, outputs=outputs))


class EndsInNoise:
    """A model whose last timestep is pure noise."""

    resolution, finetune = 64, True

    def timesteps(self):
        return 1000

    def timesteps_with_signal(self):
        return 999


@pytest.mark.parametrize(
    ("name", "attack", "message"),
    [
        ("drc", DRC(steps=1000), "1000 restoration steps do not fit below timestep 998: use at m"),
        (
            "rf_curve",
            LossCurve(),
            "timestep 999 is pure noise .*: ask below 999. Change attack.rf_",
        ),
        ("secmi", SecMI(t_sec=998, k=1), "timestep 999 is pure noise"),
    ],
)
def test_clean_images_are_not_estimated_from_pure_noise(name, attack, message):
    with pytest.raises(MiaError, match=f"attack {name}: {message}"):
        check_schedule({name: attack}, EndsInNoise())


def test_what_estimates_no_clean_image_may_ask_at_pure_noise():
    check_schedule({"loss": Loss(999), "drc": DRC(steps=999)}, EndsInNoise())


@pytest.mark.parametrize("ratio", ["0", "1", "1.5"])
def test_a_mask_of_nothing_or_of_everything_is_refused_with_the_configuration(
    ratio, small, outputs
):
    with pytest.raises(MiaError, match=f"attack.drc: task 'inpaint:{ratio}': use inpaint:<ratio"):
        small("attack=drc", f"attack.drc.tasks=['inpaint:{ratio}']", outputs=outputs)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("gsa", r"of gsa \(white_box\) none is one: .*'attack=\[gsa,loss\]', or use eval.own"),
        ("gen_sim", r"of gen_sim \(black_box\) none is one"),
    ],
)
def test_own_outputs_that_no_attack_would_look_at_are_refused(attack, message, small, outputs):
    with pytest.raises(MiaError, match=message):
        make_plan(small(f"attack={attack}", "eval.own_outputs=true", outputs=outputs))
    make_plan(small(f"attack=[{attack},loss]", "eval.own_outputs=true", outputs=outputs))


def test_own_outputs_are_not_to_be_had_by_an_attack_that_is_not_allowed(small, outputs):
    words = ("attack=gen_sim", "eval.access=black_box", "eval.own_outputs=true")
    with pytest.raises(MiaError, match=r"none is one: use eval\.own_outputs=false"):
        make_plan(small(*words, outputs=outputs))


def test_an_attack_above_the_allowed_access_is_refused_with_the_configuration(small, outputs):
    with pytest.raises(MiaError, match=r"eval\.access=grey_box does not allow gsa"):
        small("attack=[loss,gsa]", "eval.access=grey_box", outputs=outputs)


@pytest.mark.long
def test_attacks_that_compare_captions_need_some(small, tmp_path):
    def without_captions(*overrides):
        made = small(*overrides, outputs=tmp_path)
        return replace(made, source=Uncaptioned(made.source))

    with pytest.raises(MiaError, match=r"attack clid, clid_vec: captions.*'attack=\[loss,pia\]'"):
        make_plan(without_captions("attack=[clid,loss,clid_vec,pia]"))
    with pytest.raises(MiaError, match=r"Use data with captions\. .*'attack=\[loss,pia,secmi,"):
        make_plan(without_captions("attack=clid_importance"))
    assert len(make_plan(without_captions("attack=[loss,pia,sima,noise_agg_null]")).runs) == 4


@pytest.mark.first_look
@pytest.mark.parametrize("attack", ["secmi_nns", "pfami_nns"])
def test_a_network_needs_more_calibration_rows_than_a_threshold(attack, small, outputs):
    with pytest.raises(MiaError, match=rf"attack {attack}: fewer calibration rows.* 10 members"):
        make_plan(small(f"attack={attack}", outputs=outputs))
    make_plan(small("attack=[secmi,pfami]", outputs=outputs))


@pytest.mark.first_look
@pytest.mark.parametrize(("kind", "rows"), [("shadow", 5), ("split", 9)])
def test_few_calibration_rows_are_counted_as_scoring_will_form_them(kind, rows, small, outputs):
    role = {"shadow": "shadow_member", "split": "target_member"}[kind]
    few = small(
        "attack=[loss,gsa]", f"calibration={kind}", f"data.sizes.{role}={rows}", outputs=outputs
    )
    with pytest.raises(MiaError, match=rf"attack gsa: .*4 members.*{role.split('_')[0]} roles"):
        make_plan(few)


def test_scaling_and_thresholds_need_rows_too(small, outputs):
    with pytest.raises(MiaError, match=r"attack loss: .*2 members"):
        make_plan(small("attack=loss", "data.sizes.shadow_member=1", outputs=outputs))


def test_finished_cells_need_nothing_from_outside(small, outputs, monkeypatch):
    plan = make_plan(small("attack=drc", "+attack.drc.clip=x/y",
                           "attack.drc.measures=[vae,mse,open_clip]", outputs=outputs))  # fmt: skip
    with pytest.raises(MiaError, match="names no model of open_clip"):
        fetch(plan)
    monkeypatch.setattr("mia_bench.planning.specs.is_complete", lambda _: True)
    fetch(plan)
