"""What a sparse convolution knows about its coordinates: kernel maps and strided maps."""

from typing import NamedTuple

from jaxtyping import Array, Int32

SMALLEST_TILE, LARGEST_TILE = 128, 2048


class PairLists(NamedTuple):
    """The existing (input row, output row) pairs, one list for each kernel offset kept.

    The dataflow of the XLA implementation reads these; each list is in order of output rows.

    Attributes:
      inputs: int32 [l, n + LARGEST_TILE]; entries beyond a list's end are not pairs.
      outputs: int32 [l, n + LARGEST_TILE].
      counts: int32 [l], pairs of each list.
    """

    inputs: Int32[Array, "l p"]
    outputs: Int32[Array, "l p"]
    counts: Int32[Array, "l"]

    @property
    def tile(self) -> int:
        """Pairs a step takes: enough to keep all cores in one product (experiments/LOG.md)."""
        rows = self.inputs.shape[1] - LARGEST_TILE
        return min(LARGEST_TILE, max(SMALLEST_TILE, 1 << (rows // 2).bit_length()))

    def exchanged(self) -> "PairLists":
        """The same pairs with input and output exchanged."""
        return PairLists(self.outputs, self.inputs, self.counts)


class KernelMap(NamedTuple):
    """Submanifold map: which input row each offset of each output row reads.

    Attributes:
      rows: int32 [k, n], -1 where the neighbour does not exist; padded rows read nothing.
      num_rows: int32 scalar.
      pairs: lists of offsets 0 .. (k-1)/2 - 1. Offset k-1-i has the pairs of offset i with input
        and output exchanged, and the centre maps every row to itself.
    """

    rows: Int32[Array, "k n"]
    num_rows: Int32[Array, ""]
    pairs: PairLists


class Downsample(NamedTuple):
    """A strided map with kernel = stride: every fine row is one child of one coarse row.

    Attributes:
      coords: int32 [capacity, 1 + d] of the coarse level, in order of each voxel's first child.
      num_rows: int32 scalar, at most the capacity.
      rows_needed: int32 scalar; more than the capacity means that coarse rows were left out.
      parents: int32 [n], coarse row of each fine row, -1 for padding and for rows left out.
      children: int32 [k, capacity], fine row of child k of each coarse row, -1 where there is none.
      pairs: fine row -> coarse row, one list for each child position.
    """

    coords: Int32[Array, "capacity columns"]
    num_rows: Int32[Array, ""]
    rows_needed: Int32[Array, ""]
    parents: Int32[Array, "n"]
    children: Int32[Array, "k capacity"]
    pairs: PairLists
