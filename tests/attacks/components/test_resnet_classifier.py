"""The shared classifier: repeatable, considerate of its caller, and refused on too few rows."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mia_bench.attacks.components.resnet_classifier import ClassifierRecipe, build, classify
from mia_bench.utils.errors import MiaError

RECIPE = ClassifierRecipe(
    loss=lambda output, label: F.mse_loss(output[:, 0], label.float()),
    optimizer=partial(torch.optim.SGD, lr=0.01),
    epochs=2,
    batch=8,
    stages=2,
)


def maps(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2, 6, 6)).astype(np.float32)


def test_a_fit_is_a_function_of_its_seed_and_leaves_no_trace():
    labels = np.arange(21) % 2 == 0
    torch.manual_seed(1)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = classify(maps(5, 1), maps(21), labels, 3, RECIPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.manual_seed(2)
    with torch.no_grad():  # what a caller forbids does not reach the fit
        again = classify(maps(5, 1), maps(21), labels, 3, RECIPE)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, classify(maps(5, 1), maps(21), labels, 4, RECIPE))


@pytest.mark.long
def test_labels_and_rows_stay_together():
    known = maps(40)
    labels = known.mean(axis=(1, 2, 3)) > 0
    recipe = ClassifierRecipe(
        RECIPE.loss, partial(torch.optim.Adam, lr=0.003), epochs=20, batch=16, stages=1
    )
    scores = classify(known, known, labels, 0, recipe)
    assert scores[labels].min() > scores[~labels].max()


def test_too_few_rows_are_refused():
    with pytest.raises(MiaError, match="10 members and 9 non-members are fewer calibration rows"):
        classify(maps(5), maps(19), np.arange(19) % 2 == 0, 0, RECIPE)


def test_the_network_is_resnet18_with_another_stem():
    whole, cut = build(4, 1), build(1, 2, stages=2)
    convolutions = [m for m in whole.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions[0].weight.shape == (64, 4, 3, 3)
    assert len([c for c in convolutions if c.kernel_size == (3, 3)]) == 1 + 16
    assert cut(torch.zeros(2, 1, 10, 10)).shape == (2, 2)
    assert len([m for m in cut.modules() if isinstance(m, nn.Conv2d)]) == 1 + 4 + 4 + 1
