"""One classifier over the features of every attack of a run: how much they know together.

As CDI's scoring model (Dubinski et al., CVPR 2025, arXiv 2411.12858) it is a logistic regression on
standardised features of several attacks; fitted on calibration rows alone, it scores row by row as
an attack does. It asks the model nothing of its own.

A few hundred calibration rows meet up to a hundred columns that say nearly the same, because the
difficulty of an image moves them all. What membership moves is small and lies in their differences,
which a penalty on coefficients hides first. Hence, for a feature x of shape (N, a, b):
    y        = log x where all x > 0, -log(-x) where all x < 0, else x
    columns  = y_..,  y_i. - y_..,  y_.j - y_..      its mean and main effects, no interactions
    z        = clip((column - median) / (IQR / 1.349), -5, 5)
Losses are compared by ratios, CLiD's D_i is the difference of two columns instead of six, and an
effect counts however small it is. Features all of whose values another one has, as MC's losses are
among CLiD's, and effects that repeat another up to sign are dropped; features wider than
`max_columns` are left out.
    logistic  argmin_w  C sum balanced log-loss + |w|^2 / 2,   C by the held-out log-loss of 5 folds
              of near-duplicate groups
    boosted   150 trees of depth 2, each on 70 % of the rows and 30 % of the columns
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mia_bench import metrics
from mia_bench.attacks import Calibration, Features, Floats
from mia_bench.bootstrap import paired_difference
from mia_bench.errors import MiaError

FOLDS = 5
STRENGTHS = tuple(float(c) for c in 10.0 ** np.arange(-4, 2.1, 0.5))
CLIP = 5.0
SAME = 0.01  # columns are one when they never differ by more than this share of their spread
CONSTANT = 1e-6  # an effect of less than this share of its feature is rounding
TOP = 5
LEAST_ROWS = 2  # of each class
TREES = {
    "n_estimators": 150,
    "max_depth": 2,
    "learning_rate": 0.05,
    "subsample": 0.7,
    "colsample_bytree": 0.3,
    "reg_lambda": 5.0,
    "min_child_weight": 5.0,
    "n_jobs": 1,
}

Array = NDArray[np.floating[Any]]


def columns(tables: Mapping[str, Features]) -> dict[str, Array]:
    """Features of several attacks as one: {"<attack>.<feature>": (N, *f)}, rows as they are.

    Raises:
        MiaError: tables have different numbers of rows.
    """
    merged = {f"{a}.{name}": x for a, table in tables.items() for name, x in table.items()}
    if len({len(x) for x in merged.values()}) > 1:
        counts = ", ".join(f"{name}: {len(x)}" for name, x in merged.items())
        raise MiaError(f"features of one table belong to the same rows, but there are {counts}.")
    return merged


@dataclass(frozen=True)
class Ensemble:
    """Args: `model`; `max_columns` of a feature, above which it is left out, as maps are."""

    model: Literal["logistic", "boosted"] = "logistic"
    max_columns: int = 64
    version: ClassVar[int] = 1

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """(N,) log-odds of membership, row by row.

        Raises:
            MiaError: values that are not finite, a feature of the calibration rows that is missing,
                nothing to fit on, or fewer than two calibration rows of a class.
        """
        prepare, table = self._prepared(calibration)
        z = prepare(features)
        if self.model == "boosted":
            trees = boosted(table, calibration)
            return np.asarray(trees.predict(z, output_margin=True), dtype=np.float64)
        line = logistic(table, calibration)
        return np.asarray((z * line.weight).sum(axis=1) + line.intercept)

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """The five columns that carry the score, and C of the logistic model.

        Signed coefficients per robust standard deviation, or shares of the gain of all trees.
        "clid.loss[4,:]" is the effect of index 4 of the first axis, "clid.loss" the mean.
        """
        prepare, table = self._prepared(calibration)
        if self.model == "boosted":
            return _top(prepare.names, boosted(table, calibration).feature_importances_)
        line = logistic(table, calibration)
        return {"C": line.C} | _top(prepare.names, line.weight)

    def left_out(self, features: Features) -> dict[str, int]:
        """Features wider than `max_columns`, with their widths."""
        return {n: _width(x) for n, x in features.items() if _width(x) > self.max_columns}

    def _prepared(self, calibration: Calibration) -> tuple[Preparation, Floats]:
        """What turns features into columns, and the calibration rows' own (N, C)."""
        members, others = int(calibration.is_member.sum()), int((~calibration.is_member).sum())
        if min(members, others) < LEAST_ROWS:
            raise MiaError(
                f"{members} members and {others} non-members are left to fit an ensemble on; at "
                f"least {LEAST_ROWS} of each are needed. Use larger data.sizes for the calibration "
                "rows, or a larger calibration.folds."
            )
        skipped = self.left_out(calibration.features)
        kept = {n: x for n, x in calibration.features.items() if n not in skipped}
        prepare = Preparation.of(kept)
        return prepare, prepare(kept)


@dataclass(frozen=True)
class Effects:
    """The main effects of one feature; `sign` 0 leaves values as they are, else logs are taken."""

    feature: str
    sign: float
    least: float
    scale: float

    @classmethod
    def of(cls, feature: str, values: Array) -> Effects:
        x = _finite(feature, values)
        sign = 1.0 if (x > 0).all() else -1.0 if (x < 0).all() else 0.0
        # other rows may lie below the smallest known value, but not by orders of magnitude
        least = float(np.abs(x).min()) / 100
        effects = cls(feature, sign, least, 1.0)
        return cls(feature, sign, least, float(np.abs(effects.level(x)).max()))

    def level(self, x: Floats) -> Floats:
        """(N, *f): y."""
        return self.sign * np.log(np.maximum(self.sign * x, self.least)) if self.sign else x

    def __call__(self, values: Array) -> Iterator[tuple[str, Floats]]:
        """Name and (N,) of the mean, then of the effects of every axis longer than one."""
        y = self.level(_finite(self.feature, values))
        inner = tuple(range(1, y.ndim))
        mean = y.mean(axis=inner)
        yield self.feature, mean
        for axis in inner:
            effect = y.mean(axis=tuple(a for a in inner if a != axis)) - mean[:, None]
            for i in range(y.shape[axis]) if y.shape[axis] > 1 else ():
                index = [str(i) if a == axis else ":" for a in inner]
                yield f"{self.feature}[{','.join(index)}]", effect[:, i]


@dataclass(frozen=True)
class Preparation:
    """Features to (N, C) columns of comparable spread, fixed by calibration rows; arrays (C,)."""

    effects: tuple[Effects, ...]
    names: tuple[str, ...]
    centre: Floats
    spread: Floats

    @classmethod
    def of(cls, features: Features) -> Preparation:
        """Raises MiaError when no column varies."""
        effects = tuple(Effects.of(name, features[name]) for name in distinct(features))
        seen: list[Floats] = []
        kept: dict[str, tuple[float, float]] = {}
        for of_feature in effects:
            for name, column in of_feature(features[of_feature.feature]):
                if np.ptp(column) > CONSTANT * of_feature.scale:
                    z = _scale(column, *_robust(column))
                    if not _repeats(z, seen):
                        kept[name] = _robust(column)
                        seen.append(z)
        if not kept:
            raise MiaError("no feature varies over the calibration rows: nothing can be fitted.")
        centre, spread = np.array(list(kept.values())).T
        return cls(effects, tuple(kept), centre, spread)

    def __call__(self, features: Features) -> Floats:
        """(N, C)."""
        missing = [e.feature for e in self.effects if e.feature not in features]
        if missing:
            raise MiaError(f"{', '.join(missing)} of the calibration rows is missing elsewhere.")
        found = dict(pair for e in self.effects for pair in e(features[e.feature]))
        return _scale(np.stack([found[n] for n in self.names], axis=1), self.centre, self.spread)


def distinct(features: Features) -> list[str]:
    """Names of features with a column that no other has; of equal ones the widest, then the first.

    Equal means within a hundredth of the spread: values asked for in another batch differ in their
    last digits.
    """
    seen: list[Floats] = []
    kept = []
    for name in sorted(features, key=lambda n: (-_width(features[n]), n)):
        flat = _finite(name, features[name]).reshape(len(features[name]), -1)
        scaled = [_scale(column, *_robust(column)) for column in flat.T if np.ptp(column) > 0]
        new = [z for z in scaled if not _repeats(z, seen)]
        if new:
            kept.append(name)
            seen += new
    return sorted(kept)


@dataclass(frozen=True)
class Line:
    """Log-odds z @ weight + intercept."""

    weight: Floats
    intercept: float
    C: float


def logistic(table: Floats, calibration: Calibration) -> Line:
    """Ridge logistic regression on (N, C) columns; the strongest of equally good penalties.

    Raises:
        MiaError: no fold by group leaves both classes to fit on.
    """
    from mia_bench.known import folds_of

    y, fold = calibration.is_member, folds_of(calibration.group, FOLDS, calibration.seed)
    losses = np.zeros(len(STRENGTHS))
    tried = 0
    for k in np.unique(fold):
        test, train = fold == k, fold != k
        if len(np.unique(y[train])) < 2:
            continue
        tried += 1
        weight = np.where(y, 0.5 / y[train].mean(), 0.5 / (~y)[train].mean())[test]
        for i, C in enumerate(STRENGTHS):
            line = _line(table[train], y[train], C)
            odds = np.where(y[test], 1, -1) * (table[test] @ line.weight + line.intercept)
            losses[i] += (weight * np.logaddexp(0, -odds)).sum()
    if not tried:
        raise MiaError(
            f"{len(y)} calibration rows are too few to choose a penalty on, by group: use larger "
            "data.sizes for the calibration rows."
        )
    return _line(table, y, STRENGTHS[int(np.argmin(losses))])


def boosted(table: Floats, calibration: Calibration) -> Any:
    """Trees on (N, C) columns, fitted; keyed by the calibration's seed."""
    from xgboost import XGBClassifier

    trees = XGBClassifier(**TREES, random_state=calibration.seed)
    return trees.fit(table, calibration.is_member.astype(int))


def compare(
    scores_by_attack: Mapping[str, ArrayLike],
    ensemble_scores: ArrayLike,
    is_member: ArrayLike,
    group: Sequence[str],
    seed: int,
    calibration_auroc: Mapping[str, float],
) -> dict[str, Any]:
    """The ensemble minus the best single attack on the same evaluation rows, as plain JSON.

    Best is the attack with the highest out-of-fold AUROC on calibration rows, given by attack in
    `calibration_auroc`: chosen on the evaluation rows it would owe part of its lead to luck on
    those rows. The best by evaluation rows is given too, with that remark.

    scores_by_attack, ensemble_scores, is_member, group: (N,) evaluation rows; `difference` as in
    `bootstrap.paired_difference`.
    Raises ValueError as that does, and for attacks without scores or calibration AUROC.
    """
    if not scores_by_attack or set(scores_by_attack) != set(calibration_auroc):
        raise ValueError(
            f"scores of {sorted(scores_by_attack)} and calibration AUROC of "
            f"{sorted(calibration_auroc)}: pass both for the same attacks, one at least"
        )
    aurocs = {a: metrics.auroc(s, is_member) for a, s in sorted(scores_by_attack.items())}

    def against(attack: str) -> dict[str, Any]:
        single = scores_by_attack[attack]
        return {
            "attack": attack,
            "auroc": aurocs[attack],
            "calibration_auroc": calibration_auroc[attack],
            "difference": paired_difference(ensemble_scores, single, is_member, group, seed),
        }

    return {
        "auroc": metrics.auroc(ensemble_scores, is_member),
        "attacks": len(aurocs),
        "best_by_calibration": against(max(aurocs, key=lambda a: calibration_auroc[a])),
        "best_by_evaluation": {
            **against(max(aurocs, key=lambda a: aurocs[a])),
            "remark": f"chosen as the best of {len(aurocs)} on the rows it is measured on, which "
            "flatters it: its AUROC is likely too high and the difference too low",
        },
    }


def _line(table: Floats, y: NDArray[np.bool_], C: float) -> Line:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=C, class_weight="balanced", solver="newton-cholesky", max_iter=1000
    )
    model.fit(table, y)
    return Line(np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0]), C)


def _top(names: Sequence[str], weight: Floats) -> dict[str, float]:
    """The largest by magnitude; zeros carry nothing."""
    order = np.argsort(-np.abs(weight), kind="stable")[:TOP]
    return {names[i]: float(weight[i]) for i in order if weight[i] != 0}


def _robust(column: Floats) -> tuple[float, float]:
    """Median and the standard deviation that a normal of this IQR has, or the plain one."""
    low, centre, high = np.percentile(column, [25, 50, 75])
    return float(centre), float((high - low) / 1.349 if high > low else column.std())


def _scale(column: Floats, centre: float | Floats, spread: float | Floats) -> Floats:
    return np.clip((column - centre) / spread, -CLIP, CLIP)


def _repeats(z: Floats, seen: Sequence[Floats]) -> bool:
    """Up to sign: two levels of an axis have opposite effects."""
    return any(min(np.abs(z - o).max(), np.abs(z + o).max()) <= SAME for o in seen)


def _width(values: Array) -> int:
    return math.prod(values.shape[1:])


def _finite(feature: str, values: Array) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    bad = int((~np.isfinite(x)).sum())
    if bad:
        raise MiaError(f"feature {feature} has {bad} values that are not finite; none are used.")
    return x
