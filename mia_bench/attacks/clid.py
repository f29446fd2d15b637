"""CLiD: conditional likelihood discrepancy.

Paper: Zhai et al., "Membership Inference on Text-to-Image Diffusion Models via Conditional
Likelihood Discrepancy", NeurIPS 2024, arXiv 2405.14800.
Idea: fine-tuning overfits p(x | c) more than p(x), so taking words away hurts members more.
    l(c) = mean_j mean_d ( eps(q(z0, t_j, e_j), t_j, c) - e_j )^2      e_j shared by all conditions
    D_i  = l(c*_i) - l(c),  i = 1..K,  c*_K the null condition;  L = -l(c)
    threshold:  score = alpha S(mean_i D_i) + (1 - alpha) S(L),   S(v) = (v - median) / IQR
    classifier: score = P(member | D_1, ..., D_K, L) by gradient-boosted trees
Scaler, alpha and trees come from calibration rows alone.
The reductions c*_i are described in caption_reductions.py: thirds of the caption (the default),
importance clipping, gaussian noise on its embedding, or none but the null condition.
Access: GREY_BOX. NFE: len(timesteps) * (K + 1), 15 by default, with three reductions, and 6 with
none (clid_null); those of a short caption that coincide run once, so a row may cost less.
Importance also costs one text embedding a word.
Differs: thirds are cut at word boundaries, and between characters where a language has no spaces
(`reduction: characters` is the released code), where the paper prefers importance clipping
(clid_importance): it weighs words by a cross-attention tool whose output is not published, ours
leaves each out and compares by the target's text encoder. The scale of the gaussian noise is not
defined in the paper; ours is the standard deviation of the embedding.
S is centred on the median as in the released code, where the paper has the mean. Timesteps are the
paper's 440, 450, 460 for every reduction; the released clipping script uses 485, 495, 505.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, later_field, score_field
from mia_bench.attacks.components.caption_reductions import (
    character_thirds,
    clip_words,
    importances,
    noised,
    word_thirds,
)
from mia_bench.metrics import auroc
from mia_bench.target import Batch, Condition, Query, Target, grid_mse
from mia_bench.utils.text import has_unspaced

REDUCED = {"thirds": 3, "characters": 3, "none": 0}  # conditions between caption and null
MIN_ROWS_PER_CLASS = 4  # with fewer no tree can split (log-loss, min_child_weight 1)
ALPHAS = np.round(np.linspace(0, 1, 11), 1)


@dataclass(frozen=True)
class Scaling:
    """Robust scaling of (mean D, L) and the weight of the first; arrays (2,)."""

    centre: Floats
    spread: Floats
    alpha: float

    def __call__(self, terms: Floats) -> Floats:
        scaled: Floats = (terms - self.centre) / self.spread
        mixed: Floats = self.alpha * scaled[:, 0] + (1 - self.alpha) * scaled[:, 1]
        return mixed


@dataclass(frozen=True)
class CLiD:
    """Args:
    timesteps: at each of which every condition is queried, on one noise.
    reduction: of captions, see caption_reductions.py.
    rates: shares of words clipped by importance, or of gaussian noise.
    clipped: words become the tokenizer's padding, as released, or are dropped.
    decision: rule; alpha: None to choose it, or fixed.
    """

    timesteps: tuple[int, ...] = (440, 450, 460)
    reduction: Literal["thirds", "characters", "importance", "gaussian", "none"] = "thirds"
    rates: tuple[float, ...] = later_field(())
    clipped: Literal["pad", "drop"] = later_field("pad")
    decision: Literal["threshold", "classifier"] = score_field("threshold")
    alpha: float | None = score_field(None)
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.timesteps:
            raise ValueError("at least one timestep is needed")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha={self.alpha} must lie in [0, 1]")
        if (self.reduction in REDUCED) == bool(self.rates):
            raise ValueError(
                f"reduction={self.reduction} with rates={list(self.rates)}: importance and "
                "gaussian need rates, the others have none"
            )
        if any(not 0 < rate <= 1 for rate in self.rates) or len(set(self.rates)) < len(self.rates):
            raise ValueError(f"rates={list(self.rates)} must lie in (0, 1], each once")

    @property
    def nfe(self) -> tuple[int, int]:
        conditions = 2 + REDUCED.get(self.reduction, len(self.rates))
        return len(self.timesteps) * conditions, 0

    @property
    def needs_captions(self) -> bool:
        """Without a caption every condition is the null one, and every D_i is 0."""
        return True

    def caption_version(self, captions: Sequence[str]) -> int | None:
        """Captions of languages without spaces were once cut as one word."""
        cut = self.reduction in ("thirds", "importance")
        return 2 if cut and any(map(has_unspaced, captions)) else None

    @property
    def least_rows(self) -> int:
        return MIN_ROWS_PER_CLASS if self.decision == "classifier" else 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self.timesteps

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`loss` (B, K + 1, timesteps): the full caption, the reductions, the null condition."""
        queries = self.queries(target, batch)
        losses = grid_mse(target, target.view(batch), queries)
        return {"loss": losses.view(len(batch), -1, len(self.timesteps))}

    def queries(self, target: Target, batch: Batch) -> list[Query]:
        """Every condition in the order of `features`, at every timestep."""
        captions, null = target.embed(batch.caption), target.null(batch)
        conditions = [captions, *self._reduced(target, batch), null]
        return [Query(t, c) for c in conditions for t in self.timesteps]

    def _reduced(self, target: Target, batch: Batch) -> list[Condition]:
        """c*_1 ... c*_{K-1}."""
        if self.reduction == "gaussian":
            return [noised(target, batch, rate, draw) for draw, rate in enumerate(self.rates)]
        columns = zip(*self._reduced_texts(target, batch.caption), strict=True)
        return [target.embed(texts) for texts in columns]

    def _reduced_texts(self, target: Target, captions: Sequence[str]) -> list[tuple[str, ...]]:
        """The reduced captions of each row."""
        if self.reduction == "thirds":
            return [word_thirds(c) for c in captions]
        if self.reduction == "characters":
            return [character_thirds(c) for c in captions]
        if self.reduction == "none":
            return []
        weights = importances(target, captions)
        blank = target.pad_token if self.clipped == "pad" else ""
        return [
            tuple(clip_words(c, weights[c], rate, blank) for rate in self.rates) for c in captions
        ]

    def score(self, features: Features, calibration: Calibration) -> Floats:
        if self.decision == "threshold":
            return self._scaling(calibration)(terms_of(_losses(features)))
        probability = _boosted(calibration).predict_proba(_vector(_losses(features)))[:, 1]
        return np.asarray(probability, dtype=np.float64)

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """alpha, where one is used."""
        return {"alpha": self._scaling(calibration).alpha} if self.decision == "threshold" else {}

    def _scaling(self, calibration: Calibration) -> Scaling:
        terms = terms_of(_losses(calibration.features))
        return fit_scaling(terms, calibration.is_member, self.alpha)


def fit_scaling(terms: Floats, is_member: NDArray[np.bool_], alpha: float | None) -> Scaling:
    """S from the calibration rows' terms (N, 2), and alpha: given, or the best of ALPHAS there."""
    low, centre, high = np.percentile(terms, [25, 50, 75], axis=0)
    spread = np.where(high > low, high - low, 1.0)
    if alpha is not None:
        return Scaling(centre, spread, alpha)
    options = [Scaling(centre, spread, float(alpha)) for alpha in ALPHAS]
    areas = [auroc(option(terms), is_member) for option in options]
    best = [o for o, area in zip(options, areas, strict=True) if area >= max(areas) - 1e-12]
    return best[len(best) // 2]  # of alphas equally good, neither extreme


def terms_of(losses: Floats) -> Floats:
    """(N, 2), the mean of D_i over i, and L, of losses (N, K + 1) of every condition."""
    vector = _vector(losses)
    return np.column_stack([vector[:, :-1].mean(axis=1), vector[:, -1]])


def _losses(features: Features) -> Floats:
    """(N, K + 1): l of every condition."""
    losses: Floats = np.asarray(features["loss"], dtype=np.float64).mean(axis=2)
    return losses


def _vector(losses: Floats) -> Floats:
    """(N, K + 1): D_1 ... D_K and L."""
    return np.column_stack([losses[:, 1:] - losses[:, :1], -losses[:, 0]])


def _boosted(calibration: Calibration) -> Any:
    """The released classifier: `cal_clid_xgb.py` of the CLiD repository."""
    from xgboost import XGBClassifier

    calibration.require(MIN_ROWS_PER_CLASS)
    trees = XGBClassifier(
        n_estimators=20,
        gamma=0.7,
        max_depth=3,
        subsample=0.7,
        colsample_bytree=0.7,
        reg_alpha=1,
        reg_lambda=1,
        random_state=calibration.seed,
        n_jobs=1,
    )
    return trees.fit(_vector(_losses(calibration.features)), calibration.is_member.astype(int))
