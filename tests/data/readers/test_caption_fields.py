import pytest

from mia_bench.data.readers.caption_fields import candidates, choose


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("  a fish ", ["a fish"]),
        (["", None, "a fish", "two fish"], ["a fish", "two fish"]),
        (7, ["7"]),
        (0.5, ["0.5"]),
        ("Fisch über Bord".encode(), ["Fisch über Bord"]),
    ],
)
def test_texts_and_numbers_are_captions(value: object, found: list[str]) -> None:
    assert candidates(value) == found


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no caption"),
        (float("nan"), "no caption"),
        ([None], "no caption"),
        ("", "the caption is empty"),
        ([], "the caption is empty"),
        ("\0\x01", "the caption is empty"),
        (True, "is a bool, not a text"),
        ({"en": "x"}, "is a dict, not a text"),
        (b"\xff", "not UTF-8"),
        ("word " * 1_001, "has 1,001 words"),
        ("x" * 10_001, "in 10,001 characters"),
        ("猫" * 1_001, "has 1,001 words"),
    ],
)
def test_what_is_no_caption_says_why(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        candidates(value)


def test_a_long_caption_of_few_words_is_one() -> None:
    assert candidates("词" * 1_000) == ["词" * 1_000]
    assert candidates("x" * 5_000) == ["x" * 5_000]


def test_one_of_several_by_the_stated_rule() -> None:
    several = ["two words", "now three words", "as many here"]
    assert choose(several, "first", "x:1") == "two words"
    assert choose(several, "longest", "x:1") == "now three words"
    drawn = [choose(several, "random", f"x:{i}") for i in range(60)]
    assert set(drawn) == set(several)
    assert drawn == [choose(several, "random", f"x:{i}") for i in range(60)]


def test_the_longest_caption_has_the_most_characters_without_spaces() -> None:
    assert choose(["一只猫", "一只黑猫在睡觉"], "longest", "") == "一只黑猫在睡觉"
