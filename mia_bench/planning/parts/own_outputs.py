"""Pictures that the target itself generates, as rows of a control: eval.own_outputs.

Attacks have been found to call a model's own outputs members, which it was never trained on
(arXiv 2606.23872). Pictures are generated from captions of evaluation non-members, and every
grey-box attack is carried out on them as on any row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from mia_bench.config.schema import Evaluation
from mia_bench.data.pictures.image_file import read_picture
from mia_bench.data.source import Item
from mia_bench.planning.specs import ModelSpec
from mia_bench.storage import layout
from mia_bench.storage.artifacts import is_complete
from mia_bench.storage.hashing import hash_key

VERSION = 1
STEPS = 20  # DDIM
SOURCE = "own"


@dataclass(frozen=True)
class OwnOutputs:
    """`source_id` and `caption` of the rows whose captions are drawn, and the folder of the
    pictures."""

    model: ModelSpec
    source_id: tuple[str, ...]
    caption: tuple[str, ...]
    folder: Path

    @property
    def ready(self) -> bool:
        return is_complete(self.folder)

    @property
    def evaluations(self) -> int:
        """U-Net evaluations that the pictures take."""
        return STEPS * len(self.source_id)

    @cached_property
    def sample_id(self) -> tuple[str, ...]:
        """Of the pictures, which other models share with none: what is cached goes by them."""
        key = self.folder.name
        return tuple(
            f"{SOURCE}:{hash_key([self.model.key, self.model.where, key, sid])[:12]}"
            for sid in self.source_id
        )

    @cached_property
    def items(self) -> Mapping[str, Item]:
        """The pictures by sample id, to be read once they are generated."""
        rows = zip(self.sample_id, self.caption, strict=True)
        return {
            sid: Item(sid, caption, sid, partial(read_picture, self.picture(i)))
            for i, (sid, caption) in enumerate(rows)
        }

    def picture(self, row: int, folder: Path | None = None) -> Path:
        """The file of a picture, below `folder` while it is built."""
        return layout.own_output_file(folder or self.folder, row)


def own_outputs_key(rows: Sequence[tuple[str, str]], options: Evaluation) -> str:
    """Pictures of one model from captioned `rows`."""
    return hash_key(
        {
            "version": VERSION,
            "rows": rows,
            "steps": STEPS,
            "seed": options.seed,
            "dtype": options.dtype or "float32",
        }
    )
