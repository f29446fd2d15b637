"""LAION-mi (Dubinski et al., WACV 2024, arXiv 2306.12983): members of Stable Diffusion's training.

Members are LAION-Aesthetics v2 5+ images, non-members LAION-2B-multi images with translated
captions. The published list holds URLs, many of them dead; the user fetches the pictures with
img2dataset into `root`/members and `root`/nonmembers. Nothing is fine-tuned: a pre-trained model
is audited as it is. A classifier that reads the captions alone tells members at TPR@1%FPR 8.9 (Das
et al. 2024, arXiv 2406.16201): look at the blind caption row first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mia_bench.data.annotation import CaptionRule
from mia_bench.data.imagefolder import CAPTIONS, add_folder
from mia_bench.data.pairs import Pairs
from mia_bench.data.parquet import parquet_files
from mia_bench.data.source import Listing
from mia_bench.data.tables import Columns, add_tables
from mia_bench.errors import Missing

POOLS = {"members": "member", "nonmembers": "nonmember"}


@dataclass(frozen=True)
class LaionMi:
    """Pools `member` and `nonmember`, each a folder of pictures with captions (or of parquet)."""

    root: str = "data/laion_mi"
    caption_choice: CaptionRule = "first"

    name: ClassVar[str] = "laion_mi"
    licence: ClassVar[str] = "list MIT; images under their owners' terms"

    def items(self) -> Listing:
        """Both pools. Raises Missing when a folder is not there: URLs are not fetched from here."""
        root = Path(self.root).expanduser()
        pairs = Pairs(self.name, root, self.caption_choice)
        for folder, pool in POOLS.items():
            if not (root / folder).is_dir():
                raise Missing(self._advice(folder))
            if _with_pictures(files := parquet_files(root / folder)):
                add_tables(pairs, files, Columns("image", CAPTIONS), pool)
            else:
                add_folder(pairs, root / folder, CAPTIONS, pool)
        return pairs.listing()

    def _advice(self, folder: str) -> str:
        return (
            f"data=laion_mi looks for pictures with captions in {self.root}/members and"
            f" {self.root}/nonmembers, and {folder} is not there. The list antoniaaa/laion_mi of"
            " the hub holds URLs, many of them dead. To fetch what is left, for each of the two"
            " splits: pip install img2dataset; hf download antoniaaa/laion_mi --repo-type dataset"
            " --local-dir laion_mi_urls; img2dataset --url_list <its parquet file> --input_format"
            f" parquet --url_col url --caption_col caption --output_folder {self.root}/{folder}"
            " --output_format files --image_size 512. data=openmoji works now."
        )


def _with_pictures(files: list[Path]) -> bool:
    """img2dataset leaves a parquet log beside each shard of files: those hold no picture."""
    from pyarrow import parquet

    return bool(files) and "image" in parquet.read_schema(files[0]).names
