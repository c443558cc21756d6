"""What a sparse convolution knows about its coordinates: kernel maps and strided maps."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
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


@jax.tree_util.register_static
@dataclass(frozen=True)
class ConvShape:
    """Which convolution it is, and its sizes.

    Attributes:
      kind: submanifold: output rows are the input's; strided: fine to coarse; transposed: back.
      volume: number of kernel offsets, k.
      inputs, outputs: rows of the arrays, padding included.
    """

    kind: Literal["submanifold", "strided", "transposed"]
    volume: int
    inputs: int
    outputs: int


class ConvMap(NamedTuple):
    """What one convolution and its gradients read: `kmap.submanifold` or one way of a `Downsample`.

    Attributes:
      shape: static.
      num_rows, num_input_rows: int32 scalars, output and input rows in use.
      pairs: (input row, output row), a list for each offset; of a submanifold map for each offset
        before the centre: offset k-1-i has list i exchanged, and the centre is every row itself.
        None in a map for the CPU kernels.
      rows, input_rows: the row that each offset reads, -1 where there is none, for the output and
        for the gradient of the input; None unless the map is submanifold or for the CPU kernels.
      tiles, input_tiles: what the Triton kernels read in their place; None in other maps.

    A submanifold map read backwards has its offsets mirrored.
    """

    shape: ConvShape
    num_rows: Int32[Array, ""]
    num_input_rows: Int32[Array, ""]
    pairs: PairLists | None
    rows: Int32[Array, "k m"] | None
    input_rows: Int32[Array, "k n"] | None
    tiles: Tiles | None
    input_tiles: Tiles | None

    @property
    def mirrored(self) -> bool:
        """Whether the map read backwards is itself, with offset k-1-i in the place of offset i."""
        return self.shape.kind == "submanifold"


class KernelMap(NamedTuple):
    """Submanifold map: which input row each offset of each output row reads.

    Attributes:
      rows: int32 [k, n], -1 where the neighbour does not exist; padded rows read nothing.
      num_rows: int32 scalar.
      pairs: lists of offsets 0 .. (k-1)/2 - 1. Offset k-1-i has the pairs of offset i with input
        and output exchanged, and the centre maps every row to itself. None in a map for the CPU.
      tiles: what the Triton kernels read beside `pairs`; None in other maps.
    """

    rows: Int32[Array, "k n"]
    num_rows: Int32[Array, ""]
    pairs: PairLists | None
    tiles: Tiles | None = None

    @property
    def submanifold(self) -> ConvMap:
        """What the convolution reads."""
        volume, n = self.rows.shape
        return ConvMap(
            shape=ConvShape("submanifold", volume, n, n),
            num_rows=self.num_rows,
            num_input_rows=self.num_rows,
            pairs=self.pairs,
            rows=self.rows,
            input_rows=self.rows,
            tiles=self.tiles,
            input_tiles=self.tiles,
        )


class Downsample(NamedTuple):
    """A strided map with kernel = stride: every fine row is one child of one coarse row.

    Attributes:
      coords: int32 [capacity, 1 + d] of the coarse level, in order of each voxel's first child.
      num_rows: int32 scalar, at most the capacity.
      rows_needed: int32 scalar; more than the capacity means that coarse rows were left out.
      num_fine_rows: int32 scalar, rows of the finer level.
      parents: int32 [n], coarse row of each fine row, -1 for padding and for rows left out.
      children: int32 [k, capacity], fine row of child k of each coarse row, -1 where there is none.
      pairs: fine row -> coarse row, one list for each child position. None in a map for the CPU.
      tiles: of coarse rows that read their children; for the Triton kernels, else None.
      transposed_tiles: of fine rows that read their parent, at the offset that is their child
        position; for the Triton kernels, else None.
      transposed_rows: int32 [k, n], the same as a table: coarse row of each fine row that is child
        k, -1 elsewhere; for the CPU kernels, else None.
    """

    coords: Int32[Array, "capacity columns"]
    num_rows: Int32[Array, ""]
    rows_needed: Int32[Array, ""]
    num_fine_rows: Int32[Array, ""]
    parents: Int32[Array, "n"]
    children: Int32[Array, "k capacity"]
    pairs: PairLists | None
    tiles: Tiles | None = None
    transposed_tiles: Tiles | None = None
    transposed_rows: Int32[Array, "k n"] | None = None

    @property
    def strided(self) -> ConvMap:
        """What the convolution from fine to coarse reads."""
        volume, coarse = self.children.shape
        return ConvMap(
            shape=ConvShape("strided", volume, self.parents.shape[0], coarse),
            num_rows=self.num_rows,
            num_input_rows=self.num_fine_rows,
            pairs=self.pairs,
            rows=None if self.transposed_rows is None else self.children,
            input_rows=self.transposed_rows,
            tiles=self.tiles,
            input_tiles=self.transposed_tiles,
        )

    @property
    def transposed(self) -> ConvMap:
        """What the convolution from coarse to fine reads."""
        volume, coarse = self.children.shape
        return ConvMap(
            shape=ConvShape("transposed", volume, coarse, self.parents.shape[0]),
            num_rows=self.num_fine_rows,
            num_input_rows=self.num_rows,
            pairs=None if self.pairs is None else self.pairs.exchanged(),
            rows=self.transposed_rows,
            input_rows=None if self.transposed_rows is None else self.children,
            tiles=self.transposed_tiles,
            input_tiles=self.tiles,
        )
