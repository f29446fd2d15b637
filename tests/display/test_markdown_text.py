"""Text in Markdown tables: marks, links and HTML of a caption become plain characters."""

from __future__ import annotations

import pytest

from mia_bench.display.markdown_text import markdown, markdown_row


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a | b", "a \\| b"),
        ("[x](http://y)", "\\[x\\](http://y)"),
        ("<b>bold</b> & co", "&lt;b&gt;bold&lt;/b&gt; &amp; co"),
        ("*a* _b_ `c` ~d~", "\\*a\\* \\_b\\_ \\`c\\` \\~d\\~"),
        ("two\n lines", "two lines"),
    ],
)
def test_marks_lose_their_meaning(text: str, plain: str) -> None:
    assert markdown(text) == plain


def test_a_row_has_as_many_cells_as_entries() -> None:
    assert markdown_row(["a|b", "c"]) == "| a\\|b | c |"
