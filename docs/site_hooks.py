"""What the site does beside rendering docs/: pages of the root folder, and links out of docs/.

Links between documents are written for the repository. On the site those to a page lead there, and
those to code, which the site does not hold, become plain text.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ROOT_PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root folder."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


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
