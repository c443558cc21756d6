"""What a sparse convolution knows about its coordinates: kernel maps and strided maps."""

from typing import NamedTuple

from jaxtyping import Array, Int32, UInt32

SMALLEST_TILE, LARGEST_TILE = 128, 2048  # pairs that a step of the XLA dataflow takes
GRANULE = 64  # positions that share one set of active offsets in `Tiles`
ROW_MULTIPLE = 256  # positions of `Tiles` come in whole programs of the largest tile


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


class Tiles(NamedTuple):
    """A neighbour table in the order in which the implicit GEMM of the Triton kernels reads it.

    Rows that have the same neighbours stand together, so that a tile of rows needs few offsets.
    p is the number of output rows rounded up to a multiple of `ROW_MULTIPLE`.

    Attributes:
      rows: int32 [k, p], input row that each offset of each position reads, -1 where there is none.
      order: int32 [p], output row of each position: every output row once, padded rows last, then
        -1 at the positions beyond them.
      active: uint32 [p / GRANULE, ceil(k / 32)], bit k % 32 of word k // 32 is set where any of
        GRANULE positions in a row has a neighbour at offset k.
    """

    rows: Int32[Array, "k p"]
    order: Int32[Array, "p"]
    active: UInt32[Array, "granules words"]


class KernelMap(NamedTuple):
    """Submanifold map: which input row each offset of each output row reads.

    Attributes:
      rows: int32 [k, n], -1 where the neighbour does not exist; padded rows read nothing.
      num_rows: int32 scalar.
      pairs: lists of offsets 0 .. (k-1)/2 - 1. Offset k-1-i has the pairs of offset i with input
        and output exchanged, and the centre maps every row to itself.
      tiles: what the Triton kernels read beside `pairs`; None in a map for XLA.
    """

    rows: Int32[Array, "k n"]
    num_rows: Int32[Array, ""]
    pairs: PairLists
    tiles: Tiles | None = None


class Downsample(NamedTuple):
    """A strided map with kernel = stride: every fine row is one child of one coarse row.

    Attributes:
      coords: int32 [capacity, 1 + d] of the coarse level, in order of each voxel's first child.
      num_rows: int32 scalar, at most the capacity.
      rows_needed: int32 scalar; more than the capacity means that coarse rows were left out.
      num_fine_rows: int32 scalar, rows of the finer level.
      parents: int32 [n], coarse row of each fine row, -1 for padding and for rows left out.
      children: int32 [k, capacity], fine row of child k of each coarse row, -1 where there is none.
      pairs: fine row -> coarse row, one list for each child position.
      tiles: of coarse rows that read their children; None in a map for XLA.
      transposed_tiles: of fine rows that read their parent, at the offset that is their child
        position; None in a map for XLA.
    """

    coords: Int32[Array, "capacity columns"]
    num_rows: Int32[Array, ""]
    rows_needed: Int32[Array, ""]
    num_fine_rows: Int32[Array, ""]
    parents: Int32[Array, "n"]
    children: Int32[Array, "k capacity"]
    pairs: PairLists
    tiles: Tiles | None = None
    transposed_tiles: Tiles | None = None
