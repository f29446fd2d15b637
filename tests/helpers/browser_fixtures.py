"""A real browser for tests of pages, and what it finds wrong with one.

Needs chromium or google-chrome with its chromedriver; `make browser` fails where there is none, the
plain test run leaves these tests out and says so.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--force-color-profile=srgb"),
)
WIDTHS = (390, 800, 1280)
"""Pixels of a phone, a tablet and a desk."""
TOO_WIDE = """
  if (document.documentElement.scrollWidth <= arguments[0]) return [];
  const scrolls = e => e &&
    (getComputedStyle(e).overflowX !== 'visible' || scrolls(e.parentElement));
  const end = e => {
    const box = e.getBoundingClientRect();
    return Math.max(box.right, box.left + e.scrollWidth);
  };
  return [...document.querySelectorAll('body *')]
    .filter(e => end(e) > arguments[0] + 1 && !scrolls(e))
    .map(e => e.localName).concat(['page'])"""
BROKEN_WORDS = """
  const lines = node => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size;
  };
  const short = text => /^\\S{1,16}$/.test(text.trim());
  return [...document.querySelectorAll('th, td')]
    .flatMap(cell => [...cell.childNodes].filter(n => n.nodeType === 3 && short(n.textContent)))
    .filter(node => lines(node) > 1).map(node => node.textContent.trim())"""
"""Numbers and names of a table that are broken in the middle."""
EMPTY_CHARTS = """
  const drawn = chart => [...chart.querySelectorAll('.l, .a, .p, .w')]
    .some(mark => mark.getBBox().width > 0);
  return [...document.querySelectorAll('svg.chart')].filter(chart => !drawn(chart))
    .map(chart => chart.getAttribute('aria-label'))"""


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    chromedriver = shutil.which("chromedriver")
    if browser is None or chromedriver is None:
        reason = "no chromium or google-chrome with chromedriver on PATH"
        if os.environ.get("MIA_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield opened
    opened.quit()


def open_page(driver, page: Path, width: int = 1280, dark: bool = False) -> None:
    """Load `page` afresh; what an earlier one said on the console is forgotten."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(page.as_uri())


def page_faults(driver, page: Path, width: int, dark: bool) -> list[str]:
    """What is wrong with `page` at a width: elements that stick out of it, words that are
    broken, charts without a mark, complaints on the console."""
    open_page(driver, page, width, dark)
    return [
        *(f"wider than {width} pixels: {name}" for name in driver.execute_script(TOO_WIDE, width)),
        *(f"broken: {word}" for word in driver.execute_script(BROKEN_WORDS)),
        *(f"empty chart: {name}" for name in driver.execute_script(EMPTY_CHARTS)),
        *(f"console: {entry['message']}" for entry in driver.get_log("browser")),
    ]
