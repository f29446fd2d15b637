"""A mitigation about captions is refused where it would change nothing of what is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mia_bench.config.recipe import Recipe
from mia_bench.data.source import Item, Listing
from mia_bench.mitigations import Captions, apply_mitigations
from mia_bench.mitigations.caption_influence import CaptionInfluence
from mia_bench.mitigations.captions import DeleteWords, SeveralCaptions, ShuffleCaptions
from mia_bench.mitigations.machine_captions import MachineCaptions
from mia_bench.mitigations.settings import CaptionDropout, Ema
from mia_bench.planning.caption_mitigations import FIRST_ROWS, check_training_captions
from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.errors import MiaError

RECIPE = Recipe(steps=100, batch_size=4, lr=1e-3, seed=0)
NONE = r"mitigation={} is about .*none of the 20 pictures that the target is trained on has one"
SAME = r"mitigation={} leaves the captions of all 20 pictures that the shadow is trained on as"


def items(*captions: str, rows: int = 20) -> list[Item]:
    said = [captions[i % len(captions)] for i in range(rows)]
    return [Item(f"x:{i:05}", text, str(i), lambda _: None) for i, text in enumerate(said)]  # type: ignore[arg-type,return-value]


def check(pairs: Sequence[Item], kind: str = "target", **mitigations) -> None:
    setup = apply_mitigations(mitigations, {}, RECIPE, len(pairs), 10, 1, "32-true")
    check_training_captions(setup, pairs, kind)


@pytest.mark.parametrize(
    "about", [CaptionInfluence(), CaptionDropout(), DeleteWords(), ShuffleCaptions()]
)
def test_pictures_without_captions_leave_nothing_to_do(about):
    with pytest.raises(MiaError, match=NONE.format("about")):
        check(items(" "), about=about)
    check(items("a red fish", "a blue house"), about=about)
    check(items(" "), ema=Ema())


@pytest.mark.parametrize(
    ("about", "captions"),
    [(DeleteWords(share=0.9), ("ship", "frog")), (ShuffleCaptions(), ("a photo of a dog",))],
)
def test_captions_that_stay_as_they_are_are_refused(about, captions):
    with pytest.raises(MiaError, match=SAME.format("about")):
        check(items(*captions), "shadow", about=about)


def test_captions_of_a_machine_give_the_others_something_to_do():
    pairs = items("")
    texts = {item.sample_id: f"picture {i}" for i, item in enumerate(pairs)}
    machine = MachineCaptions(file="said.csv").with_captions(texts)
    check(pairs, caption_machine=machine, ss_ei=CaptionInfluence())
    check(pairs, caption_machine=machine, caption_shuffle=ShuffleCaptions())
    own = items("a red fish")
    same = machine.with_captions({item.sample_id: item.caption for item in own})
    with pytest.raises(MiaError, match="leaves the captions of all 20"):
        check(own, caption_machine=same)


def test_what_the_attacker_asks_with_does_not_count():
    asked_with_none = [replace(i, caption="", trained_on=i.caption) for i in items("a red fish")]
    check(asked_with_none, ss_ei=CaptionInfluence())
    asked_with_some = [replace(i, caption="a fish", trained_on="") for i in items("")]
    with pytest.raises(MiaError, match=NONE.format("ss_ei")):
        check(asked_with_some, ss_ei=CaptionInfluence())


class Counting:
    """A mitigation that remembers how many captions it was asked to rewrite."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def captions(self, sample_id: Sequence[str], captions: Captions, seed: int) -> Captions:
        self.asked.append(len(captions))
        return [(f"{text}!",) for (text,) in captions]


def test_the_first_rows_are_enough_where_they_show_it():
    counting = Counting()
    check(items("a fish", rows=FIRST_ROWS + 5), counting=counting)
    assert counting.asked == [FIRST_ROWS]
    late = [*items("fish", rows=FIRST_ROWS), *items("a, red, fish", rows=FIRST_ROWS + 5)]
    check(late, delete=DeleteWords(share=0.5))
    check(late, several=SeveralCaptions(each=3))


def test_a_plan_on_data_without_captions_refuses_it(small, tmp_path):
    class Uncaptioned:
        def __init__(self, source) -> None:
            self.source, self.name, self.licence = source, source.name, source.licence

        def items(self) -> Listing:
            return Listing(tuple(replace(i, caption=" ") for i in self.source.items().items))

    made = small("attack=loss", "mitigation=ss_ei", "calibration=split", outputs=tmp_path)
    with pytest.raises(MiaError, match="mitigation=ss_ei is about what captions do"):
        make_plan(replace(made, source=Uncaptioned(made.source)))


def test_an_attacker_without_captions_is_no_reason_to_refuse_it(small, tmp_path):
    make_plan(small("attack=loss", "mitigation=ss_ei", "data.captions=null", outputs=tmp_path))
