"""Degradations against their algebra, and masks against literal loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.attacks.components.degradations import (
    AveragePool,
    Box,
    Gray,
    Keep,
    Task,
    around,
    face_centres,
    fill,
    kept_cells,
    kept_pixels,
    project,
    random_box,
    require_blocks,
    side_of,
)
from mia_bench.utils.errors import MiaError


def images(n: int = 3, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def degradations():
    boxes = [Box(2, 3, 5), Box(0, 0, 5), Box(11, 11, 5)]
    return {"keep": Keep(kept_pixels(boxes, 16, 16)), "pool": AveragePool(4), "gray": Gray()}


@pytest.mark.parametrize("name", ["keep", "pool", "gray"])
def test_right_inverse_and_projection(name):
    A, x, guess = degradations()[name], images(), images(seed=1)
    y = A.apply(x)
    # averages of 16 or 3 equal numbers round in the last bit
    torch.testing.assert_close(A.apply(A.pinv(y)), y, rtol=0, atol=1e-6)
    found = project(A, y, guess)
    torch.testing.assert_close(A.apply(found), y, rtol=0, atol=1e-6)
    torch.testing.assert_close(project(A, y, found), found, rtol=0, atol=1e-6)
    torch.testing.assert_close(project(A, y, x), x, rtol=0, atol=1e-6)
    # what was added lies in the range of A^+, at a right angle to the null space that was kept
    apart = (found - guess).flatten() @ (guess - A.pinv(A.apply(guess))).flatten()
    assert abs(apart.item()) < 1e-3


def test_hand_worked_degradations():
    x = torch.tensor([[1.0, 3.0], [5.0, 7.0]]).expand(1, 3, 2, 2) * torch.tensor(
        [1.0, 2.0, 3.0]
    ).view(1, 3, 1, 1)
    assert AveragePool(2).apply(x).flatten().tolist() == [4, 8, 12]
    assert AveragePool(2).pinv(torch.tensor([[[[4.0]]]])).tolist() == [[[[4, 4], [4, 4]]]]
    assert Gray().apply(x).tolist() == [[[[2, 6], [10, 14]]]]
    assert Gray().pinv(torch.ones(1, 1, 2, 2)).shape == (1, 3, 2, 2)


def test_a_mask_keeps_exactly_and_lets_nothing_through():
    A = degradations()["keep"]
    x, guess = images(), images(seed=1)
    poisoned = torch.where(A.keep, x, torch.nan)
    found = project(A, A.apply(poisoned), guess)
    assert torch.equal(found, torch.where(A.keep, x, guess))


@pytest.mark.parametrize("ratio", [0.1, 0.2, 0.3, 0.4, 0.5])
def test_a_centred_square_has_its_share_of_the_image(ratio):
    side = side_of(ratio, 64, 64)
    box = around(32, 32, side, 64, 64)
    keep = kept_pixels([box], 64, 64)
    assert (~keep).float().mean().item() == pytest.approx(ratio, abs=2 * 8 / 64 / 8)
    assert abs(box.top + side / 2 - 32) <= 0.5
    assert box.top == box.left


@pytest.mark.parametrize("ratio", [0.0001, 0.999])
def test_a_square_that_hides_nothing_or_everything_is_refused(ratio):
    with pytest.raises(MiaError, match="must hide something and leave a border"):
        side_of(ratio, 16, 16)


def test_blocks_that_do_not_cover_an_image_are_refused():
    require_blocks(Task.of("sr:4"), 16, 32)
    for size in ((16, 30), (30, 16)):
        with pytest.raises(MiaError, match="sr:4 does not divide {} x {} images".format(*size)):
            require_blocks(Task.of("sr:4"), *size)


def test_boxes_stay_inside():
    assert around(0, 31, 8, 32, 32) == Box(0, 24, 8)
    assert Box(0, 0, 10).enlarged(1.2, 4, 32, 32) == Box(0, 0, 12)
    assert Box(10, 12, 10).enlarged(1.2, 4, 32, 32) == Box(9, 11, 12)
    assert Box(10, 12, 2).enlarged(1.2, 16, 32, 32) == Box(3, 5, 16)
    assert Box(1, 1, 14).enlarged(1.2, 16, 16, 16) == Box(0, 0, 16)


def test_latent_cells_near_a_hidden_pixel_are_hidden():
    boxes = [Box(14, 9, 3), Box(4, 4, 4), Box(0, 29, 3)]
    keep = kept_pixels(boxes, 32, 32)
    found = kept_cells(keep, (8, 8))
    for row, box in enumerate(boxes):
        for i in range(8):
            for j in range(8):
                touched = any(
                    box.top <= y < box.top + box.side and box.left <= x < box.left + box.side
                    for y in range(max(0, 4 * i - 4), min(32, 4 * i + 8))
                    for x in range(max(0, 4 * j - 4), min(32, 4 * j + 8))
                )
                assert found[row, 0, i, j].item() is not touched, (row, i, j)


def test_a_mask_over_every_cell_is_refused():
    with pytest.raises(MiaError, match="no known cell"):
        kept_cells(kept_pixels([Box(1, 1, 30)], 32, 32), (8, 8))
    with pytest.raises(MiaError, match="do not divide into 7 x 7"):
        kept_cells(kept_pixels([Box(1, 1, 3)], 32, 32), (7, 7))


def test_the_hole_is_filled_with_the_mean_of_the_pixels_around_it():
    image = images(2, 16)
    boxes = [Box(5, 6, 4), Box(0, 12, 4)]  # the second lies in a corner
    keep = kept_pixels(boxes, 16, 16)
    found = fill(image, keep)
    for row, box in enumerate(boxes):
        ring = [
            (y, x)
            for y in range(max(0, box.top - 1), min(16, box.top + box.side + 1))
            for x in range(max(0, box.left - 1), min(16, box.left + box.side + 1))
            if keep[row, 0, y, x]
        ]
        colour = torch.stack([image[row, :, y, x] for y, x in ring]).mean(0)
        inside = found[row, :, box.top : box.top + box.side, box.left : box.left + box.side]
        torch.testing.assert_close(inside, colour.view(3, 1, 1).expand(3, 4, 4))
    assert torch.equal(found.where(keep, 0), image.where(keep, 0))
    assert torch.equal(fill(image.where(keep, torch.nan), keep), found)


def test_random_positions_are_keyed_by_sample_and_cover_the_image():
    first = [random_box(0, f"s{i}", 0, 5, 16, 16) for i in range(400)]
    assert first == [random_box(0, f"s{i}", 0, 5, 16, 16) for i in range(400)]
    tops = np.bincount([box.top for box in first], minlength=12)
    assert len(tops) == 12
    assert tops.min() > 10  # 400 / 12 = 33 expected
    assert len({random_box(seed, "s", k, 5, 160, 160) for seed in range(3) for k in range(3)}) == 9


def test_faces_found_and_not_found():
    found, without = images(2, 16), images(2, 16)
    centres, flags = face_centres(found, lambda image: (2, 4, 6, 8) if image is not None else None)
    assert centres == [(8.0, 5.0)] * 2
    assert flags.tolist() == [1, 1]
    centres, flags = face_centres(without, lambda _: None)
    assert centres == [(16 * 0.55, 8.0)] * 2
    assert flags.tolist() == face_centres(without, None)[1].tolist() == [0, 0]


def test_tasks_by_name():
    assert Task.of("inpaint:0.3") == Task("inpaint", 0.3)
    assert Task.of("sr:4") == Task("sr", 4)
    assert Task.of("gray") == Task("gray", 0)
    for wrong in (
        "inpaint:0",
        "inpaint:1",
        "inpaint",
        "inpaint:x",
        "sr:1",
        "sr:2.5",
        "gray:2",
        "blur",
    ):
        with pytest.raises(ValueError, match=f"task '{wrong}': use inpaint"):
            Task.of(wrong)
