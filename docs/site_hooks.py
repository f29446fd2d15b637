"""What the site does beside rendering docs/: pages made from other files, and links out of docs/.

Pages of the root folder and notebooks are taken as they are; a reference of what others build upon
is made from docstrings, a page for each package.
Links between documents are written for the repository. On the site those to a page lead there, and
those to code, which the site does not hold, become plain text.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ROOT_PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
NOTEBOOKS = "notebooks"
REFERENCE = "reference"
# packages that plugins, notebooks and scripts import from
PACKAGES = ("attacks", "target", "models", "data", "mitigations", "metrics", "evaluation")
FETCHED_SHIM = '<script src="https://unpkg.com/iframe-worker/shim"></script>'
"""What the theme's plugin for pages without a server puts into each: it would ask a network."""
FETCHES = re.compile(r"<(?:script|img|iframe)[^>]+src=.?https?:|<link[^>]+stylesheet[^>]+https?:")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root folder, of notebooks and of docstrings."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for path in sorted((ROOT / NOTEBOOKS).glob("*.ipynb")):
        uri = f"{NOTEBOOKS}/{path.stem}.md"
        files.append(File.generated(config, uri, content=notebook_page(path)))
    for package in PACKAGES:
        uri = f"{REFERENCE}/{package}.md"
        files.append(File.generated(config, uri, content=reference_page(package)))
    return files


def notebook_page(path: Path) -> str:
    """Text and code of a notebook, as Markdown."""
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        code = cell.cell_type == "code"
        parts.append(f"```python\n{cell.source}\n```" if code else cell.source)
    where = f"`{NOTEBOOKS}/{path.name}`: open it in Jupyter, or read on."
    title, *rest = parts
    heading, _, text = title.partition("\n")
    return "\n\n".join((heading, where, text.strip(), *rest))


def reference_page(package: str) -> str:
    """Every module of a package by its docstrings, those that begin with _ left out."""
    folder = ROOT / "mia_bench" / package
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted(folder.rglob("*.py"))
        if not path.name.startswith("_")
    ]
    lines = (f"::: {module}\n    options:\n      heading_level: 2" for module in modules)
    about = f"::: mia_bench.{package}\n    options:\n      heading_level: 1\n      members: false"
    return "\n\n".join((about, *lines)) + "\n"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Links as the site needs them."""
    uri = page.file.src_uri
    folder = (ROOT if uri in ROOT_PAGES else ROOT / "docs" / uri).parent
    folder = ROOT if uri in ROOT_PAGES else folder

    def rewritten(match: re.Match[str]) -> str:
        text, link = match.groups()
        target, hash_sign, anchor = link.partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match.group(0)
        path = os.path.relpath(os.path.normpath(folder / target), ROOT).removeprefix("docs/")
        if files.get_file_from_path(path) is None:
            return text
        return f"[{text}]({os.path.relpath(path, Path(uri).parent)}{hash_sign}{anchor})"

    return LINK.sub(rewritten, markdown)


def on_post_build(config: Any) -> None:
    """Every page without what it would fetch. Raises SystemExit where something is left."""
    script = (ROOT / "docs" / "offline_search.js").read_text(encoding="utf-8")
    for page in Path(config.site_dir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        own = text.replace(FETCHED_SHIM, f"<script>{script}</script>")
        if fetched := FETCHES.search(own):
            raise SystemExit(f"{page} would fetch from a network: {fetched.group(0)}")
        if own != text:
            page.write_text(own, encoding="utf-8")
