"""Features of several attacks as columns of comparable spread, for the ensemble.

A few hundred calibration rows meet up to a hundred columns that say nearly the same, because the
difficulty of an image moves them all. What membership moves is small and lies in their differences,
which a penalty on coefficients hides first. Hence, for a feature x of shape (N, a, b):
    y        = log x where all x > 0, -log(-x) where all x < 0, else x
    columns  = y_..,  y_i. - y_..,  y_.j - y_..      its mean and main effects, no interactions
    z        = clip((column - median) / (IQR / 1.349), -5, 5)
Losses are compared by ratios, CLiD's D_i is the difference of two columns instead of six, and an
effect counts however small it is. Features all of whose values another one has, as MC's losses are
among CLiD's, and effects that repeat another up to sign are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mia_bench.attacks.base import Features, Floats
from mia_bench.utils.errors import MiaError

CLIP_DEVIATIONS = 5.0
EQUAL_COLUMNS_SHARE = 0.01  # of their spread: columns that never differ by more are one
CONSTANT_EFFECT_SHARE = 1e-6  # an effect of less than this share of its feature is rounding

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
        # other rows may lie below the smallest calibration value, but not by orders of magnitude
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
                if np.ptp(column) > CONSTANT_EFFECT_SHARE * of_feature.scale:
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
        effects = dict(pair for e in self.effects for pair in e(features[e.feature]))
        return _scale(np.stack([effects[n] for n in self.names], axis=1), self.centre, self.spread)


def distinct(features: Features) -> list[str]:
    """Names of features with a column that no other has; of equal ones the widest, then the first.

    Equal means within a hundredth of the spread: values measured in another batch differ in their
    last digits.
    """
    seen: list[Floats] = []
    kept = []
    for name in sorted(features, key=lambda n: (-width(features[n]), n)):
        flat = _finite(name, features[name]).reshape(len(features[name]), -1)
        scaled = [_scale(column, *_robust(column)) for column in flat.T if np.ptp(column) > 0]
        new = [z for z in scaled if not _repeats(z, seen)]
        if new:
            kept.append(name)
            seen += new
    return sorted(kept)


def _robust(column: Floats) -> tuple[float, float]:
    """Median and the standard deviation that a normal of this IQR has, or the plain one."""
    low, centre, high = np.percentile(column, [25, 50, 75])
    return float(centre), float((high - low) / 1.349 if high > low else column.std())


def _scale(column: Floats, centre: float | Floats, spread: float | Floats) -> Floats:
    return np.clip((column - centre) / spread, -CLIP_DEVIATIONS, CLIP_DEVIATIONS)


def _repeats(z: Floats, seen: Sequence[Floats]) -> bool:
    """Up to sign: two levels of an axis have opposite effects."""
    return any(min(np.abs(z - o).max(), np.abs(z + o).max()) <= EQUAL_COLUMNS_SHARE for o in seen)


def width(values: Array) -> int:
    """Numbers of one row."""
    return math.prod(values.shape[1:])


def _finite(feature: str, values: Array) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    bad = int((~np.isfinite(x)).sum())
    if bad:
        raise MiaError(f"feature {feature} has {bad} values that are not finite; none are used.")
    return x
