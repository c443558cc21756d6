"""Rows that the samples of a micro-batch share: measured, held, cropped to a common limit."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourdc_jax.data.grids.capacity import (
    MarginParams,
    add_margin,
    common_limit,
    count_needed,
    fit_together,
    holds,
    measure_rows,
)

EXACT = MarginParams(num_samples=8, margin=1.0, multiple=1)


@dataclass(frozen=True)
class Piece:
    """A sample of two levels; `solid` rows stay, however much is cropped."""

    size: int
    solid: int = 0

    @property
    def needed(self):
        return (self.size + self.solid, self.size // 4 + self.solid + 1)


def crop(piece, limit):
    return Piece(min(piece.size, limit), piece.solid)


@dataclass(frozen=True)
class Pieces:
    """Sizes of samples by index, a little larger in every epoch."""

    sizes: tuple[int, ...]
    seed: int = 0

    def __len__(self):
        return len(self.sizes)

    def make_sample(self, epoch, index):
        return Piece(self.sizes[index] + epoch)


def test_levels_hold_one_by_one():
    assert holds((10, 5), (10, 5))
    assert not holds((10, 5), (11, 5))
    assert not holds((10, 5), (1, 6))
    assert count_needed([Piece(8), Piece(4, 1)]) == (13, 6)


def test_the_margin_is_rounded_up():
    assert add_margin(np.array([[7, 1], [3, 2]]), MarginParams(1, 1.25, 4)) == (12, 4)


def test_a_micro_batch_of_one_needs_the_largest_sample():
    pieces = Pieces(tuple(range(100, 180, 10)))
    assert measure_rows(pieces, EXACT, 1) == Piece(170).needed
    assert measure_rows(pieces, MarginParams(8, 1.1, 64), 1) == (192, 64)


def test_few_samples_are_measured_in_several_epochs():
    assert measure_rows(Pieces((50,)), MarginParams(12, 1.0, 1), 1) == Piece(61).needed
    assert measure_rows(Pieces((50, 20)), MarginParams(3, 1.0, 1), 1) == Piece(51).needed


def test_many_samples_are_measured_evenly():
    pieces = Pieces((1, 1000, 1, 1, 1000, 1, 1, 1000, 5))
    assert measure_rows(pieces, MarginParams(3, 1.0, 1), 1) == Piece(1000).needed
    assert measure_rows(pieces, MarginParams(2, 1.0, 1), 1) == Piece(5).needed


@pytest.mark.parametrize("batch", [4, 32])
def test_measured_rows_hold_almost_all_micro_batches(batch):
    pieces = Pieces(tuple(400 * 2**power for power in range(5)))
    rows = measure_rows(pieces, MarginParams(5, 1.1, 64), batch)
    assert rows == measure_rows(pieces, MarginParams(5, 1.1, 64), batch)
    rng = np.random.default_rng(1)
    groups = [
        [pieces.make_sample(0, index) for index in rng.integers(5, size=batch)] for _ in range(500)
    ]
    assert np.mean([not holds(rows, count_needed(group)) for group in groups]) < 0.02


def test_large_micro_batches_share_their_rows():
    """Far less than a share for the largest sample each."""
    pieces = Pieces(tuple(400 * 2**power for power in range(5)))
    assert measure_rows(pieces, EXACT, 32)[0] < 0.75 * 32 * measure_rows(pieces, EXACT, 1)[0]


def test_the_order_of_training_does_not_change_what_is_measured():
    sizes = tuple(np.random.default_rng(0).integers(100, 5000, 40).tolist())
    rows = measure_rows(Pieces(sizes), EXACT, 12)
    assert rows == measure_rows(Pieces(sizes), EXACT, 12)
    assert rows != measure_rows(Pieces(sizes, seed=1), EXACT, 12)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12), st.floats(0, 1, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_the_common_limit_is_the_largest(sizes, share):
    sizes = np.array(sizes)
    budget = max(int(share * sizes.sum()), len(sizes) - 1)
    if budget >= sizes.sum():
        budget = int(sizes.sum()) - 1
    limit = common_limit(sizes, budget)
    assert np.minimum(sizes, limit).sum() <= budget < np.minimum(sizes, limit + 1).sum()


@pytest.mark.parametrize("level", range(2))
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_cropping_takes_from_the_largest_until_every_level_fits(level, share):
    pieces = [Piece(size) for size in (900, 20, 400, 4000, 70)]
    capacity = list(count_needed(pieces))
    capacity[level] = int(share * capacity[level])
    fitted = fit_together(pieces, tuple(capacity), crop)
    assert holds(tuple(capacity), count_needed(fitted))
    sizes = np.array([piece.size for piece in fitted])
    whole = np.array([piece.size for piece in pieces])
    np.testing.assert_array_equal(sizes, np.minimum(whole, sizes.max()))
    assert count_needed(fitted)[level] > 0.9 * capacity[level]  # little more than needed


def test_what_fits_is_left_as_it_is():
    pieces = [Piece(900), Piece(20)]
    assert fit_together(pieces, count_needed(pieces), None) is pieces


def test_what_cannot_be_cropped_that_much_is_told():
    pieces = [Piece(900, solid=30), Piece(20, solid=30)]
    assert fit_together(pieces, (900, 900), None) is None
    assert fit_together(pieces, (59, 900), crop) is None
    assert fit_together(pieces, (900, 60), crop) is None
    assert count_needed(fit_together(pieces, (70, 900), crop))[0] <= 70


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 1.1, 64), "num_samples is 0"),
        ((8, 0.0, 64), "margin 0.0"),
        ((8, 1.1, 0), "multiple 0"),
    ],
)
def test_impossible_margins_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        MarginParams(*values)
