"""Moments of blocks of rows, that a batch normalisation merges into those of all rows."""

from typing import NamedTuple

from jaxtyping import Array, Float32


class BlockMoments(NamedTuple):
    """Number of valid rows, mean and sum of squared deviations of disjoint blocks of rows.

    Together the blocks cover every valid row once; a block may be empty.
    """

    counts: Float32[Array, "g 1"]
    means: Float32[Array, "g c"]
    squares: Float32[Array, "g c"]
