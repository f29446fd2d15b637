"""Training on captions that a machine wrote, while the attacker asks with the true ones.

Idea: pairs scraped from the web are often captioned again before training. An attacker who only
has the original text then asks with words that the model never saw beside the picture. Studied for
rephrased and shuffled captions (arXiv 2405.14800, section 4.3); with a captioner, nobody has
measured it. The reverse, a model trained on true captions and an attacker with machine captions, is
`data.captions=file:<the same file>` without this mitigation.

Captions come from a table with sample_id and caption, or from a captioner whose weights are here;
both are read when the run is planned.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mia_bench.mitigations import Captions, TrainingContext
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class MachineCaptions:
    """One machine-written caption in place of each row's own.

    Args:
        file: table (csv, tsv, json, jsonl, parquet) with sample_id and caption; or
        captioner: folder or hub id of an image-to-text model, or `colours`, a rule that names the
            picture's colours; see data/captions/pseudo.py.
    """

    file: str | None = None
    captioner: str | None = None
    texts: Mapping[str, str] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.file is not None and self.captioner is not None:
            raise ValueError("one of file and captioner is needed, the other null")

    def with_captions(self, texts: Mapping[str, str]) -> MachineCaptions:
        filled = copy.copy(self)
        object.__setattr__(filled, "texts", dict(texts))
        return filled

    def check(self, context: TrainingContext) -> None:
        if self.file is None and self.captioner is None:
            raise MiaError(
                "mitigation caption_machine has no captions to train on: give a table with "
                "sample_id and caption as mitigation.caption_machine.file=captions.csv, or a "
                "captioner whose weights are here as mitigation.caption_machine.captioner=<folder> "
                "(colours needs none)."
            )

    def file_hash(self) -> str:
        """Of the captions themselves, wherever they came from."""
        return hash_key(sorted(self._texts().items()))

    def captions(self, sample_id: Sequence[str], captions: Captions, seed: int) -> Captions:
        texts = self._texts()
        return [(texts[sid],) for sid in sample_id]

    def _texts(self) -> Mapping[str, str]:
        if self.texts is None:
            raise MiaError("mitigation caption_machine: its captions have not been read yet.")
        return self.texts
