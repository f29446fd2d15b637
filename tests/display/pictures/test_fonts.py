"""Packaged fonts are installed, found without an import, and have the scripts they stand for."""

from __future__ import annotations

import subprocess
import sys

from mia_bench.display.pictures import fonts

DEJAVU_SCRIPTS = "az ĄŸ ж Ћ α ώ ب ي ש ת Ա ა"
CJK_SCRIPTS = "语 語 赤 キ ツ ね 한 글"


def test_both_packaged_fonts_are_installed() -> None:
    assert [path.name for path in fonts.packaged_fonts()] == [
        "DejaVuSans.ttf",
        "NotoSansCJKjp-Regular.otf",
    ]


def test_scripts_have_a_packaged_font() -> None:
    dejavu, cjk = fonts.packaged_fonts()
    assert {fonts.font_with(c) for c in DEJAVU_SCRIPTS} == {dejavu}
    assert {fonts.font_with(c) for c in CJK_SCRIPTS if c != " "} == {cjk}
    assert fonts.font_with(fonts.NO_FONT) == dejavu
    assert fonts.font_with("\U000f0000") is None


def test_packages_of_fonts_are_not_imported() -> None:
    script = (
        "import sys; from mia_bench.display.pictures import fonts; fonts.font_with('语');"
        "print({'matplotlib', 'noto_cjk_sans_jp_regular'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_font_that_cannot_be_read_has_no_characters(tmp_path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"\x00\x01\x00\x00 no font")
    assert fonts.characters(broken) == frozenset()
