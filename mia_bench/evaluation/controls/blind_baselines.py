"""Controls: what can be told without the model, and without the fine-tuning.

Blind rows (Das, Zhang, Tramer 2024, arXiv 2406.16201) never query a model. Each is a classifier
cross-fitted by near-duplicate group on the evaluation rows' own labels, the one place where those
are fitted on, and is named a control everywhere. A random split leaves nothing to find: a blind row
that finds something says that members and non-members differ by more than membership. The base row
asks the same of the attack on weights that never saw a member.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mia_bench.attacks import Floats
from mia_bench.data.pictures.preprocessing import to_rgb
from mia_bench.data.source import Item
from mia_bench.metrics import auroc
from mia_bench.metrics.permutation import Groups, Labels, permuted_labels, sequential_p_value
from mia_bench.utils.text import caption_units, has_unspaced

BLIND_FOLDS = 5
BLIND_FILE = "blind_file"
FAR_DEVIATIONS = 4.0  # standard deviations, at which features of files are clipped
THUMBNAIL_SIDE = 8
COMPONENTS = 32
ENCODER_BATCH = 32  # pictures per call of an encoder


@dataclass(frozen=True)
class Blind:
    """Cross-fitted scores (N,) of a blind classifier, their AUROC and its one-sided p-value."""

    name: str
    scores: Floats
    auroc: float
    p_value: float


def blind_rows(
    items: Sequence[Item],
    is_member: Labels,
    group: Groups,
    resolution: int,
    seed: int,
    encoder: str | None = None,
) -> list[Blind]:
    """blind_image, blind_caption and blind_both over the evaluation rows.

    Images are seen as statistics, or as embeddings of the open_clip model that `encoder` names.
    """
    if encoder is None:
        image = image_statistics(items, resolution)
    else:
        image = image_embeddings(items, resolution, encoder)
    return cross_fitted(image, [item.caption for item in items], is_member, group, seed)


def cross_fitted(
    image: Floats, captions: list[str], is_member: Labels, group: Groups, seed: int
) -> list[Blind]:
    """The blind rows from what is seen of images (N, F) and captions (N)."""
    rows = {
        "blind_image": partial(_prepare, image=image, captions=None),
        "blind_caption": partial(_prepare, image=None, captions=captions),
        "blind_both": partial(_prepare, image=image, captions=captions),
    }
    return [_blind(name, prepare, is_member, group, seed) for name, prepare in rows.items()]


def blind_file_row(files: Floats, is_member: Labels, group: Groups, seed: int) -> Blind:
    """blind_file from `file_features` (N, F) of the evaluation rows: what files' headers and traces
    of compression tell, cross-fitted like the other rows."""
    return _blind(BLIND_FILE, partial(_prepare_files, files=files), is_member, group, seed)


def _blind(
    name: str, prepare: Callable[[Labels], Floats], is_member: Labels, group: Groups, seed: int
) -> Blind:
    """A row from `prepare`, which makes inputs (N, F) of training rows (N)."""
    fold = _folds(group, seed)
    prepared = [prepare(fold != k) for k in range(BLIND_FOLDS)]
    scores = _cross_fit(prepared, fold, is_member)
    value = auroc(scores, is_member)
    null = (
        auroc(_cross_fit(prepared, fold, labels), labels)
        for labels in permuted_labels(is_member, group, seed)
    )
    return Blind(name, scores, value, sequential_p_value(value, null))


def _prepare_files(train: Labels, files: Floats) -> Floats:
    """What varies at all (N, V), scaled by the training rows; zeros (N, 1) where nothing does."""
    from sklearn.preprocessing import StandardScaler

    varying = files[:, np.ptp(files, axis=0) > 0]
    if not varying.shape[1]:
        return np.zeros((len(files), 1))
    scaled: Floats = StandardScaler().fit(varying[train]).transform(varying)
    return np.clip(scaled, -FAR_DEVIATIONS, FAR_DEVIATIONS)


def image_statistics(items: Sequence[Item], resolution: int) -> Floats:
    """(N, F) statistics that need no model: colours, entropy, edges, file size, a thumbnail."""
    return np.array([_statistics(to_rgb(item.load(resolution))) for item in items])


def image_embeddings(items: Sequence[Item], resolution: int, encoder: str) -> Floats:
    """(N, width) embeddings of the open_clip model "<model>/<pretrained tag>", on the CPU.

    Raises:
        MiaError: its weights are not to be had.
    """
    import torch

    from mia_bench.attacks.components.image_similarity import open_clip_encoder
    from mia_bench.data.pictures.preprocessing import pixels

    encode = open_clip_encoder(encoder, torch.device("cpu"))
    parts = []
    with torch.no_grad():
        for i in range(0, len(items), ENCODER_BATCH):
            rows = [pixels(x.load(resolution), resolution) for x in items[i : i + ENCODER_BATCH]]
            parts.append(encode(torch.stack(rows)).double().numpy())
    return np.concatenate(parts)


def _statistics(picture: Image.Image) -> list[float]:
    pixels = np.asarray(picture, dtype=np.float64) / 255
    gray = pixels.mean(axis=2)
    share = np.histogram(gray, bins=32, range=(0, 1))[0] / gray.size
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
    edges = [np.abs(np.diff(gray, axis=axis)).mean() for axis in (0, 1)]
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG")
    size = [np.log(len(encoded.getvalue())), *np.log(picture.size)]
    thumbnail = picture.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    colours = [*pixels.mean(axis=(0, 1)), *pixels.std(axis=(0, 1))]
    return [*colours, entropy, *edges, *size, *(np.asarray(thumbnail).ravel() / 255)]


def _folds(group: Groups, seed: int) -> npt.NDArray[np.intp]:
    from mia_bench.metrics.group_folds import folds_of

    return folds_of(group, BLIND_FOLDS, seed)


def _prepare(train: Labels, image: Floats | None, captions: list[str] | None) -> Floats:
    """Inputs (N, F) of one fold; scaling, components and vocabulary come from its training rows."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    columns = []
    if image is not None:
        scaler = StandardScaler().fit(image[train])
        scaled = scaler.transform(image)
        width = min(COMPONENTS, train.sum() - 1, image.shape[1])
        columns.append(PCA(width, random_state=0).fit(scaled[train]).transform(scaled))
    if captions is not None:
        columns.append(_words(train, captions))
    scaled = np.column_stack(columns)
    finished: Floats = StandardScaler().fit(scaled[train]).transform(scaled)
    return finished


def caption_words(caption: str) -> list[str]:
    """Runs of letters and digits; single characters where a script has no spaces."""
    if not has_unspaced(caption):
        return re.findall(r"\w+", caption)
    return [
        word
        for unit in map(str.strip, caption_units(caption))
        # marks such as Thai vowels stay with their letter
        for word in ([unit] if has_unspaced(unit) else re.findall(r"\w+", unit))
        if any(map(str.isalnum, word))
    ]


def _words(train: Labels, captions: list[str]) -> Floats:
    """Components of the words (N, F); a constant where the training rows say one word, or one
    caption."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    learned = [caption for caption, kept in zip(captions, train, strict=True) if kept]
    vocabulary = TfidfVectorizer(tokenizer=caption_words, token_pattern=None)
    words = {word for text in learned for word in vocabulary.build_analyzer()(text)}
    if len(words) < 2 or len(set(learned)) < 2:
        return np.zeros((len(captions), 1))
    counts = vocabulary.fit(learned).transform(captions)
    width = min(2 * COMPONENTS, train.sum() - 1, counts.shape[1] - 1)
    topics: Floats = TruncatedSVD(width, random_state=0).fit(counts[train]).transform(counts)
    return topics


def _cross_fit(prepared: list[Floats], fold: npt.NDArray[np.intp], is_member: Labels) -> Floats:
    from sklearn.linear_model import LogisticRegression

    scores = np.zeros(len(fold))
    for k, inputs in enumerate(prepared):
        train, test = fold != k, fold == k
        if not test.any() or not inputs.any() or len(set(is_member[train])) < 2:
            continue  # nothing to judge, or to judge by: scores of 0, AUC 0.5
        model = LogisticRegression(C=0.1, class_weight="balanced", solver="newton-cholesky")
        model.fit(inputs[train], is_member[train])
        scores[test] = model.decision_function(inputs[test])
    return scores


def to_json(rows: Sequence[Blind]) -> dict[str, Any]:
    return {row.name: {"auroc": row.auroc, "p_value": row.p_value} for row in rows}
