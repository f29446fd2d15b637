"""The page in a real browser: sorting, filtering, keyboard, phone, dark, and a silent console.

Needs chromium or google-chrome with its chromedriver; `make browser` fails where there is none, the
plain test run leaves these out and says so.
"""

from __future__ import annotations

import base64
import json
import re

import pytest
from browser_fixtures import WIDTHS, open_page, page_faults

from mia_bench.leaderboard import run as leaderboard
from mia_bench.report.__main__ import run
from mia_bench.report.pairs import difference_text
from mia_bench.studies.seeds import difference

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'

READ = (
    *("h1", ".facts", ".note", ".badge.bad", ".badge.warn", ".notice li", "td.num", "a", "summary"),
    *(".chart .n", ".chart .k", "select", "dt"),
)
CONTRAST = """
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const found = parts(getComputedStyle(element).backgroundColor);
      if ((found[3] ?? 1) > .9) return found;
    }
    return [255, 255, 255];
  };
  return arguments[0].map(selector => {
    const element = document.querySelector(selector), style = getComputedStyle(element);
    const svg = element.namespaceURI.includes('svg');
    const text = light(parts(svg ? style.fill : style.color));
    const back = light(behind(svg ? element.closest('figure') : element));
    return [selector, (Math.max(text, back) + .05) / (Math.min(text, back) + .05)];
  })"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory, write_run, quiet):
    """Five runs: two attacks under two mitigations, one attack that has no TPR at 1 %."""
    outputs = tmp_path_factory.mktemp("outputs")
    published = {"source": HOSTILE, "attacks": {"clid": {"auroc": 0.99}}}
    for i, (attack, shift) in enumerate((("clid", 2.0), ("loss", 1.0))):
        for mitigation in ("none", "augment"):
            write_run(
                *(outputs, attack, shift / (1 + (mitigation != "none")), mitigation.ljust(16, "0")),
                mitigation={} if mitigation == "none" else {mitigation: {}},
                nfe=1.0 + 14 * (1 - i),
                published=published,
                controls=quiet(p_image=0.001),
            )
    few = {"name": HOSTILE, "source": {}}
    write_run(outputs, "mc", 0.5, "c" * 16, data=few, access="white_box")
    return run([f"paths.outputs={outputs}"])


@pytest.fixture
def view(driver, page):
    """view(width=1280, dark=False): the page, freshly loaded."""

    def load(width: int = 1280, dark: bool = False):
        open_page(driver, page, width, dark)
        return driver

    yield load
    assert driver.get_log("browser") == []


def shown(driver, column: str = "attack") -> list[str]:
    script = """return [...document.querySelectorAll('#board tbody tr')].filter(r => !r.hidden)
      .map(r => r.querySelector('[data-label="' + arguments[0] + '"]').textContent.trim())"""
    return driver.execute_script(script, column)


def click(driver, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def choose(driver, selector: str, value: str) -> None:
    driver.execute_script(
        "const f = document.querySelector(arguments[0]); f.value = arguments[1];"
        "for (const e of ['input', 'change']) f.dispatchEvent(new Event(e, {bubbles: true}))",
        selector,
        value,
    )


def test_columns_sort_as_numbers_and_say_so(view):
    driver = view()
    click(driver, '[data-sort="AUC"]')
    falling = [float(text.split()[0]) for text in shown(driver, "AUC")]
    assert falling == sorted(falling, reverse=True)
    head = "return document.querySelector('[data-sort=\"AUC\"]').closest('th').ariaSort"
    assert driver.execute_script(head) == "descending"
    click(driver, '[data-sort="AUC"]')
    assert [float(text.split()[0]) for text in shown(driver, "AUC")] == falling[::-1]
    click(driver, '[data-sort="NFE"]')
    assert shown(driver, "NFE") == ["1", "1", "15", "15", "15"]
    assert driver.execute_script(head) == "none"
    click(driver, '[data-sort="attack"]')
    names = [text.split()[0] for text in shown(driver)]
    assert names == sorted(names)


@pytest.mark.long
def test_the_keyboard_sorts(view):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver = view()
    button = driver.find_element(By.CSS_SELECTOR, '[data-sort="NFE"]')
    driver.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    assert shown(driver, "NFE")[0] == "1"
    button.send_keys(Keys.SPACE)
    assert shown(driver, "NFE")[0] == "15"


@pytest.mark.long
def test_filters_combine_and_reset(view):
    driver = view()
    choose(driver, '[data-filter="mitigation"]', "augment")
    assert shown(driver, "mitigation") == ["augment", "augment"]
    choose(driver, 'input[data-filter="attack"]', " CLI ")
    assert len(shown(driver)) == 1
    count = "return document.getElementById('count').textContent"
    assert driver.execute_script(count) == "1 of 5 runs"
    choose(driver, '[data-filter="data"]', HOSTILE)
    assert shown(driver) == []
    click(driver, "#filters [type=reset]")
    driver.execute_async_script("setTimeout(arguments[0], 50)")
    assert driver.execute_script(count) == "5 of 5 runs"
    choose(driver, '[data-filter="access"]', "white box")
    assert [text.split()[0] for text in shown(driver)] == ["mc"]


@pytest.mark.long
def test_two_runs_are_compared_with_the_keyboard(view, page):
    """The answer is that of the stored scores, and a screen reader is told."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver = view()
    answer = driver.find_element(By.ID, "pair-answer")
    assert answer.get_attribute("aria-live") == "polite"
    assert answer.text.startswith("clid minus loss: +")
    assert "p < 0.010: the first run is better" in answer.text
    first, second = (driver.find_element(By.ID, name) for name in ("pair-a", "pair-b"))
    chosen = [find(driver, element) for element in (first, second)]
    folders = [next(page.parents[2].glob(f"runs/{key}/*/{attack}-*")) for attack, key in chosen]
    entry = difference(*folders, 0, 200)
    assert difference_text(entry) in answer.text
    before = answer.text
    driver.execute_script("arguments[0].focus()", second)
    second.send_keys(Keys.ARROW_DOWN)
    assert answer.text != before
    click(driver, "#pair-swap")
    assert answer.text.partition(":")[0] != before.partition(":")[0]


def find(driver, select) -> tuple[str, str]:
    """(attack, model key) of the run that a list of runs shows."""
    label = driver.execute_script("return arguments[0].selectedOptions[0].textContent", select)
    attack, mitigation = label.split(", ")[:2]
    return attack, ("augment" if mitigation == "augment" else "none").ljust(16, "0")


def test_a_link_opens_its_run(view):
    driver = view()
    click(driver, "#board tbody tr a")
    driver.execute_async_script("setTimeout(arguments[0], 50)")
    opened = "return document.querySelector('details.run[open] pre.command').textContent"
    assert driver.execute_script(opened)


@pytest.mark.long
def test_a_phone_shows_cards_that_fit_and_sort(view):
    driver = view(width=360)
    wide = "return document.documentElement.scrollWidth"
    assert driver.execute_script(wide) <= 360
    visible = "return getComputedStyle(document.getElementById('sort').parentNode).display"
    assert driver.execute_script(visible) == "grid"
    listed = shown(driver)
    choose(driver, "#sort", "AUC")
    falling = [float(text.removeprefix("AUC").split()[0]) for text in shown(driver, "AUC")]
    assert falling == sorted(falling, reverse=True)
    choose(driver, "#sort", "")
    assert shown(driver) == listed
    assert len(driver.get_screenshot_as_png()) > 10_000


@pytest.mark.first_look
@pytest.mark.parametrize("dark", [False, True])
def test_text_is_readable_in_both_schemes(view, dark):
    """WCAG AA: a contrast of 4.5 for text against what lies behind it."""
    driver = view(dark=dark)
    found = dict(driver.execute_script(CONTRAST, list(READ)))
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, paper[4:-1].split(","))) < 60) is dark


def test_nothing_is_fetched_and_nothing_hostile_runs(view):
    from selenium.common.exceptions import NoAlertPresentException

    driver = view()
    fetched = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert [name for name in driver.execute_script(fetched) if not name.startswith("data:")] == []
    assert driver.execute_script("return document.scripts.length") == 1
    with pytest.raises(NoAlertPresentException):
        driver.switch_to.alert.accept()
    assert HOSTILE in driver.execute_script("return document.body.textContent")


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A leaderboard of one entry whose card is hostile."""
    folder = tmp_path_factory.mktemp("board")
    rows = [f"{i},{i % 2},{i % 7}" for i in range(40)]
    (folder / "scores.csv").write_text("\n".join(["sample_id,is_member,score", *rows]))
    card = {"attack": HOSTILE, "target": "sd14", "data": "coco", "split": "W" * 200}
    (folder / "card.yaml").write_text(json.dumps(card))
    words = ("scores.csv", "card.yaml")
    return leaderboard(["add", *(str(folder / word) for word in words), f"folder={folder}/board"])


@pytest.mark.first_look
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["page", "board"])
def test_every_page_fits_and_draws_at_every_width(driver, page, board, name, width, dark):
    assert page_faults(driver, page if name == "page" else board, width, dark) == []
    charts = driver.execute_script("return document.querySelectorAll('svg.chart').length")
    assert bool(charts) is (name == "page")


@pytest.mark.first_look
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<p style='width:900px'>far too wide</p>", "wider than 800 pixels: p"),
        ("<pre>" + "W" * 400 + "</pre>", "wider than 800 pixels: pre"),
        ("<svg class='chart' aria-label='bare'><path class='g' d='M0,0 H9'/></svg>", "bare"),
        ("<table style='overflow-wrap:anywhere;width:9px'><td>0.854", "broken: 0.854"),
        ("<script>console.error('oops')</script>", "oops"),
    ],
)
def test_a_page_that_is_wrong_is_seen(driver, tmp_path, body, fault):
    wrong, right = tmp_path / "wrong.html", tmp_path / "right.html"
    wrong.write_text(f"<!doctype html><body>{body}</body>")
    right.write_text("<!doctype html><body><div style='overflow:auto'><p style='width:900px'>a")
    assert any(fault in found for found in page_faults(driver, wrong, 800, False))
    assert page_faults(driver, right, 800, False) == []


def test_a_pointer_reads_a_curve(view):
    """The topmost mark at a named rate says its value, and the table beside it says the same."""
    driver = view()
    script = """
      const dot = document.querySelector('circle.h');
      dot.closest('figure').scrollIntoView();
      const box = dot.getBoundingClientRect();
      const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      return [top.querySelector('title').textContent,
              dot.closest('figure').querySelector('details table').textContent]"""
    said, table = driver.execute_script(script)
    attack, value, rate = re.fullmatch(r"(\w+): TPR ([\d.]+) at FPR ([\d.]+)", said).groups()
    assert attack in table
    assert value in table
    assert f"TPR at FPR {rate}" in table


@pytest.mark.long
def test_pages_print(view, board):
    """To paper, on which nothing that needs a pointer is left."""
    driver = view()
    for printed in (driver.current_url, board.as_uri()):
        driver.get(printed)
        data = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
        assert base64.b64decode(data).startswith(b"%PDF")
        assert len(data) > 10_000
    view()
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    style = "return getComputedStyle(document.getElementById(arguments[0])).display"
    assert {driver.execute_script(style, name) for name in ("filters", "pair")} == {"none"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
