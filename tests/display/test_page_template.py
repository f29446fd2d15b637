"""Templates escape what they are given, and fail on what they are not given."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from mia_bench.display.page_template import page_templates


def test_text_is_escaped_and_missing_names_are_errors(tmp_path) -> None:
    (tmp_path / "page.html.j2").write_text("<p>{{ text }}</p>", encoding="utf-8")
    template = page_templates(tmp_path).get_template("page.html.j2")
    assert template.render(text="<script>") == "<p>&lt;script&gt;</p>"
    with pytest.raises(UndefinedError):
        template.render()
