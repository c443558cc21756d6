"""What a sparse convolution knows about its coordinates: kernel maps and strided maps."""

import functools
from dataclasses import dataclass

import jax
from jaxtyping import Array, Int32


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["inputs", "outputs", "starts"],
    meta_fields=["tile"],
)
@dataclass(frozen=True)
class PairLists:
    """The existing (input row, output row) pairs, one list for each kernel offset kept.

    The dataflow of the XLA implementation reads these: each list is in order of output rows and
    split into blocks of output rows, so that a block's features stay in the processor's cache.

    Attributes:
      inputs: int32 [l, p]; entries beyond a list's end are not pairs.
      outputs: int32 [l, p].
      starts: int32 [l, blocks + 1], position in list l where each block begins; the last is its end.
      tile: pairs a step of the dataflow takes.
    """

    inputs: Int32[Array, "l p"]
    outputs: Int32[Array, "l p"]
    starts: Int32[Array, "l blocks_plus_one"]
    tile: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KernelMap:
    """Submanifold map: which input row each offset of each output row reads.

    Attributes:
      rows: int32 [k, n], -1 where the neighbour does not exist; padded rows read nothing.
      num_rows: int32 scalar.
      pairs: lists of offsets 0 .. (k-1)/2 - 1. Offset k-1-i has the pairs of offset i with input and
        output exchanged, and the centre maps every row to itself.
    """

    rows: Int32[Array, "k n"]
    num_rows: Int32[Array, ""]
    pairs: PairLists


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Downsample:
    """A strided map with kernel = stride: every fine row is one child of one coarse row.

    Attributes:
      coords: int32 [capacity, 1 + d] of the coarse level, in order of each voxel's first child.
      num_rows: int32 scalar, at most the capacity.
      rows_needed: int32 scalar; more than the capacity means that coarse rows were left out.
      parents: int32 [n], coarse row of each fine row, -1 for padding and for rows left out.
      children: int32 [k, capacity], fine row of child k of each coarse row, -1 where there is none.
      fine_num_rows: int32 scalar, rows of the fine level.
      pairs: fine row -> coarse row, one list for each child position.
    """

    coords: Int32[Array, "capacity columns"]
    num_rows: Int32[Array, ""]
    rows_needed: Int32[Array, ""]
    parents: Int32[Array, "n"]
    children: Int32[Array, "k capacity"]
    fine_num_rows: Int32[Array, ""]
    pairs: PairLists
