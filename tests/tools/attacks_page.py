"""`python tests/tools/attacks_page.py`: write docs/attacks.md.

Names, papers, access, NFE and the sentence are those of `mia-bench list attacks`, which reads them
from the yaml files and the classes. tests/contracts/test_documents.py compares the page with what
this writes, tests/contracts/test_attack_contract.py the NFE with what each attack counts.
"""

from __future__ import annotations

from pathlib import Path

from mia_bench.cli.catalogue import Preset, presets
from mia_bench.cli.listing import as_markdown

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
HEAD = """# Attacks

Every attack that can be named, as `attack=clid` or `'attack=[clid,loss]'`; written by
`python tests/tools/attacks_page.py` from conf/attack/ and the classes, and kept true by tests.

NFE is U-Net evaluations per image, forward and, behind the +, backward; in one run equal queries
are made once. An attack whose captions are *needed* is left out where there are none. The docstring
of each attack's module gives formula, source and every deviation from the paper; options are in
[configuration.md](configuration.md#attacks). Where which attack works, measured: on the
[bundled text-to-image target](results/tiny.md), on [DDPMs in pixel space](results/ddpm.md).

"""


def linked(row: Preset) -> Preset:
    """With the paper as a link."""
    paper = row.facts.get("paper")
    link = f"[{paper}](https://arxiv.org/abs/{paper})" if paper else ""
    return Preset(row.name, {**row.facts, "paper": link}, row.sentence)


def page() -> str:
    """The page as text."""
    return HEAD + as_markdown([linked(row) for row in presets("attacks") if row.name != "all"])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
