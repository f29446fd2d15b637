"""Caption mitigations: training sees other words than the attacker will ask with.

All are made once, keyed by (seed, sample id), before training; where a row has several captions a
step draws one of them. `CaptionDropout` (settings.py) works per step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mia_bench.mitigations import Captions
from mia_bench.storage.hashing import hash_file
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator
from mia_bench.utils.text import caption_units, has_unspaced, printable


@dataclass(frozen=True)
class DeleteWords:
    """Delete a share of the words (10 and 30 % in arXiv 2405.14800); at least one word stays.

    Characters stand for words in languages without spaces.
    `versions` deletions per caption; 1 deletes once and for all, as the paper does.
    """

    share: float = 0.1
    versions: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.versions < 1:
            raise ValueError("share lies between 0 and 1, versions is 1 or more")

    def caption_version(self, captions: Sequence[str]) -> int | None:
        """Captions of languages without spaces were once one word, and stayed whole."""
        return 2 if any(map(has_unspaced, captions)) else None

    def captions(self, sample_id: Sequence[str], captions: Captions, seed: int) -> Captions:
        return [
            tuple(
                _delete(text, self.share, seed, sid, i, version)
                for i, text in enumerate(texts)
                for version in range(self.versions)
            )
            for sid, texts in zip(sample_id, captions, strict=True)
        ]


def _delete(text: str, share: float, *key: int | str) -> str:
    words = caption_units(text)
    draw = keyed_generator("delete", *key)
    wanted = share * len(words)
    count = int(wanted) + int(draw.random() < wanted % 1)  # the share holds on average
    dropped = set(draw.permutation(len(words))[: min(count, len(words) - 1)].tolist())
    return "".join(word for i, word in enumerate(words) if i not in dropped).strip()


@dataclass(frozen=True)
class ShuffleCaptions:
    """Exchange the captions of a share of the pairs (50 % in arXiv 2405.14800).

    Every chosen image gets the caption of another chosen one.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError("share lies between 0 and 1")

    def captions(self, sample_id: Sequence[str], captions: Captions, seed: int) -> Captions:
        chosen = keyed_generator("shuffle", seed).permutation(len(captions))
        chosen = chosen[: round(self.share * len(captions))]
        shuffled = list(captions)
        for here, there in zip(chosen.tolist(), np.roll(chosen, 1).tolist(), strict=True):
            shuffled[here] = captions[there]
        return shuffled


OTHER_COMMAS = re.compile("[，、､،]")
COMMAS = re.compile(r"(, |[，、､،]\s*)")


@dataclass(frozen=True)
class SeveralCaptions:
    """`each` captions per image, the data set's own first.

    Without a file, the others are its parts between commas in other orders; full-width (，),
    ideographic (、) and Arabic commas (،) count, and stay where they are. `file` is JSON,
    {sample id: [caption, ...]}: rephrased or generated captions; rows with fewer repeat theirs.
    """

    each: int = 5
    file: str | None = None

    def __post_init__(self) -> None:
        if self.each < 2:
            raise ValueError("each must be 2 or more")

    def caption_version(self, captions: Sequence[str]) -> int | None:
        """Captions with commas of other scripts were once one part, and stayed as they were."""
        return 2 if any(map(OTHER_COMMAS.search, captions)) else None

    def file_hash(self) -> str:
        return hash_file(self._path())

    def captions(self, sample_id: Sequence[str], captions: Captions, seed: int) -> Captions:
        from_file = self._read() if self.file else {}
        varied = [
            tuple(
                text
                for i, text in enumerate(texts)
                for text in self._several(text, from_file.get(sid), (seed, sid, i))
            )
            for sid, texts in zip(sample_id, captions, strict=True)
        ]
        if all(
            len(set(several)) == len(texts) for several, texts in zip(varied, captions, strict=True)
        ):
            raise MiaError(
                "mitigation caption_several: no caption has parts to reorder, and no other is "
                "given. Give them in a file: mitigation.caption_several.file=captions.json."
            )
        return varied

    def _several(
        self, text: str, others: list[str] | None, key: tuple[int | str, ...]
    ) -> list[str]:
        if others:
            texts = [text, *others]
            return [texts[i % len(texts)] for i in range(self.each)]
        pieces = COMMAS.split(text)
        parts, commas = pieces[::2], [*pieces[1::2], ""]
        draws = [keyed_generator("several", *key, i) for i in range(1, self.each)]
        return [
            text,
            *(_in_order(parts, commas, d.permutation(len(parts)).tolist()) for d in draws),
        ]

    def _path(self) -> Path:
        path = Path(self.file or "").expanduser()
        if not path.is_file():
            raise MiaError(f"mitigation.caption_several.file={self.file} does not exist.")
        return path

    def _read(self) -> dict[str, list[str]]:
        path = self._path()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {
                str(sid): [printable(text) for text in texts if text.strip()]
                for sid, texts in content.items()
            }
        except (ValueError, AttributeError, TypeError) as error:
            raise MiaError(
                f"{path} is not JSON of the form {{sample id: [caption, ...]}}: {error}"
            ) from error


def _in_order(parts: Sequence[str], commas: Sequence[str], order: Sequence[int]) -> str:
    """Parts in another order between the same commas, the last of which is empty."""
    return "".join(parts[j] + comma for j, comma in zip(order, commas, strict=True))
