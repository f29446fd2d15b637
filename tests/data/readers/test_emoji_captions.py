import pytest

from mia_bench.data.readers.emoji_captions import (
    caption_parts,
    from_codepoints,
    has_skin_tone,
    plain,
)


def test_code_points_become_the_character() -> None:
    assert from_codepoints("1F468-200D-1F52C") == "👨‍🔬"


@pytest.mark.parametrize("stem", ["", "heart", "1F468-", "110000", "-1", "1F468_1F52C_X"])
def test_other_file_names_are_no_code_points(stem: str) -> None:
    assert from_codepoints(stem) is None


def test_caption_is_name_then_keywords() -> None:
    name, *keywords = caption_parts("💗")
    assert name == "growing heart"
    assert 1 <= len(keywords) <= 5
    assert all(keyword == keyword.strip().lower() for keyword in keywords)


def test_keywords_are_limited_and_a_prefix() -> None:
    everything = caption_parts("💗", keywords=100)
    assert caption_parts("💗", keywords=2) == everything[:3]
    assert caption_parts("💗", keywords=0) == ("growing heart",)


def test_keywords_say_something_new() -> None:
    name, *keywords = caption_parts("😀", keywords=100)
    assert len(set(keywords)) == len(keywords)
    assert not any(set(keyword.split()) <= set(name.split()) for keyword in keywords)


def test_variation_selectors_do_not_matter() -> None:
    assert caption_parts("❤") == caption_parts("❤️") != ()
    assert plain("❤️") == "❤"


def test_unnamed_characters_have_no_caption() -> None:
    assert caption_parts("\ue000") == ()


def test_skin_tones_are_seen() -> None:
    assert has_skin_tone("👋🏽")
    assert not has_skin_tone("👋")
