"""Writes docs/data.md's table again: python tests/tools/data_page.py."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

PAGE = ROOT / "docs" / "data.md"
INTRODUCTION = """# What is read

Every line is a test (`tests/data/readers/test_picture_folder_layouts.py`), and this page is
written from their list by `python tests/tools/data_page.py`. `data.source.root=<folder>` says
where; options in the table are of `data.source`. What cannot be used is skipped, counted and named
with the reason: `mia-bench data data=...` writes the list.
"""
CAPTIONS = """
Text is UTF-8, or what its byte-order mark says. A line of a csv with more fields than its header is
skipped and counted. So is one in which a field behind the second begins with a blank and none
before does: a caption that a comma cut. Where no picture has a caption, or the model is audited as
it is, those without one are kept with `data.captions=null` (attacks that compare captions are
refused), `file:<table>` or `pseudo:<captioner>`: a folder or hub id of an image-to-text model, or
`colours`, a rule that names a picture's colours and needs no weights. Equal captions link
near-duplicates unless they are labels (fewer than a fifth are distinct, or more than 5 % of the
rows share one): `data.duplicates=image|caption|both|none` decides. Formats of pictures: AVIF, BMP,
GIF, JPEG, JPEG 2000, PNG, PPM, TIFF, WebP; HEIC and JPEG XL with `pip install
'mia_bench[formats]'`.

## Who is a member

A model that is audited as it is (`model.finetune=false`) needs to be told: `data=given` with the
folders `members/` and `nonmembers/`, a column `is_member`, `member` or `split` of any table above
(of another name: `data.source.member=<column>`; words: member/nonmember, train/test, true/false,
yes/no, 1/0; val is held out), or `data.split=<file>`:

| file | what it holds |
|---|---|
"""


def page() -> str:
    """The whole of docs/data.md."""
    from layouts import LAYOUTS, SPLIT_FILES

    rows = []
    for layout in LAYOUTS:
        options = " ".join(
            f"{key}={str(value).lower() if value is True else value}"
            for key, value in layout.options.items()
        )
        rows.append(f"| {layout.name} | {layout.files} | `data={layout.data}` | {options} |\n")
    table = "\n| layout | files | data | options |\n|---|---|---|---|\n" + "".join(rows)
    files = "".join(f"| {Path(file.name).suffix} | {file.what} |\n" for file in SPLIT_FILES)
    return INTRODUCTION + table + CAPTIONS + files


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
