"""Words of an audit: what is missing, what belongs to the other audit, what is out of range."""

from __future__ import annotations

import pytest

from mia_bench.audit.__main__ import COMMAND
from mia_bench.audit.request import counted, kind_of, request_of
from mia_bench.config.arguments import parse
from mia_bench.utils.errors import MiaError


def asked(*words):
    return parse(COMMAND, list(words))


def test_few_words_are_enough():
    request = request_of("owner", asked("owner", "model=tiny", "members=a", "nonmembers=b"))
    assert (request.first.name, request.second.name) == ("a", "b")
    assert request.labels == ("members", "non-members")
    assert (request.alpha, request.seed, request.attacks, request.overrides) == (0.01, 0, (), ())


def test_other_keys_are_the_configurations():
    words = ("data", "model=tiny", "mine=a", "unseen=b", "trainer=gpu", "attacks=sima,loss")
    request = request_of("data", asked(*words))
    assert request.overrides == ("trainer=gpu",)
    assert request.attacks == ("sima", "loss")
    assert (request.first_name, request.second_name) == ("mine", "unseen")


def test_variants_take_the_place_of_the_unseen():
    request = request_of("data", asked("data", "model=tiny", "mine=a", "variants=b"))
    assert request.variants
    assert request.second_name == "variants"


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("owner", ("members=a", "nonmembers=b"), "needs model="),
        ("owner", ("model=tiny", "members=a"), "needs nonmembers="),
        (
            "owner",
            ("model=tiny", "mine=a", "unseen=b"),
            r"takes members= and nonmembers=, not mine=",
        ),
        ("data", ("model=tiny", "members=a", "nonmembers=b"), "mia-bench audit owner"),
        ("data", ("model=tiny", "mine=a", "unseen=b", "variants=c"), "not both"),
        ("owner", ("model=tiny", "members=a", "variants=c"), "audit data"),
        ("data", ("model=tiny", "mine=a", "unseen=b", "alpha=0.9"), "alpha=0.9"),
        ("data", ("model=tiny", "mine=a", "unseen=b", "alpha=x"), "must be a number"),
    ],
)
def test_what_is_wrong_is_said_with_the_way_out(kind, words, message):
    with pytest.raises(MiaError, match=message):
        request_of(kind, asked(kind, *words))


def test_known_pictures_belong_to_a_data_owner_with_unseen_ones():
    request = request_of("data", asked("data", "model=tiny", "mine=a", "unseen=b", "known=c"))
    assert request.known is not None
    assert request.known.name == "c"
    for words in (("members=a", "nonmembers=b"), ("mine=a", "variants=b")):
        kind = "owner" if "members=a" in words else "data"
        with pytest.raises(MiaError, match="known= are pictures that are known"):
            request_of(kind, asked(kind, "model=tiny", *words, "known=c"))


def test_the_kind_of_a_plan_follows_from_its_sets():
    assert kind_of(asked("plan", "members=a")) == "owner"
    assert kind_of(asked("plan", "mine=a")) == "data"
    with pytest.raises(MiaError, match="mine= and unseen="):
        kind_of(asked("plan", "model=tiny"))


def test_counts_read_as_people_say_them():
    said = [counted(n, name) for name in ("non-members", "pictures in question") for n in (1, 2)]
    assert said[:2] == ["1 non-member", "2 non-members"]
    assert said[2:] == ["1 picture in question", "2 pictures in question"]
