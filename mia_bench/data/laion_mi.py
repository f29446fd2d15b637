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

from mia_bench.data.given import read_pools
from mia_bench.data.readers.caption_fields import CaptionRule
from mia_bench.data.source import Listing


@dataclass(frozen=True)
class LaionMi:
    """Pools `member` and `nonmember`, each a folder of pictures with captions (or of parquet)."""

    root: str = "data/laion_mi"
    caption_choice: CaptionRule = "first"

    name: ClassVar[str] = "laion_mi"
    licence: ClassVar[str] = "list MIT; images under their owners' terms"

    def items(self) -> Listing:
        """Both pools. Raises Missing when a folder is not there: URLs are not fetched from here."""
        return read_pools(
            Path(self.root).expanduser(), self.name, self.caption_choice, self._advice
        )

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
