"""Pair lists in Triton: compaction in one pass, from counts that are already there."""

from typing import Literal

import jax
import jax.numpy as jnp
import triton.language as tl
from fourdc_jax.kernels.kernel_map.maps import LARGEST_TILE, PairLists
from fourdc_jax.kernels.triton_call import jit, launch
from jaxtyping import Array, Int32

BUCKET = 1024  # rows whose pairs are counted together


def num_buckets(num_rows: int) -> int:
    """Buckets of that many rows."""
    return -(-num_rows // BUCKET)


def list_pairs(
    table: Int32[Array, "k n"],
    counts: Int32[Array, "l buckets"],
    implementation: Literal["triton", "interpret"],
) -> PairLists:
    """Compact the first l offsets of a table into lists, in order of output rows: one launch.

    Args:
      table: 1 + input row, 0 where there is none; n and l at least 1.
      counts: pairs of each list in each bucket of output rows.
    """
    n, (lists, buckets) = table.shape[1], counts.shape
    length = n + LARGEST_TILE
    return PairLists(
        *launch(
            _compact,
            [table, counts],
            [
                jax.ShapeDtypeStruct((lists, length), jnp.int32),
                jax.ShapeDtypeStruct((lists, length), jnp.int32),
                jax.ShapeDtypeStruct((lists,), jnp.int32),
            ],
            grid=(buckets, lists),
            implementation=implementation,
            NUM_ROWS=n,
            LENGTH=length,
            BUCKETS=buckets,
            BLOCK=BUCKET,
        )
    )


# fmt: off

@jit
def _compact(
    table, counts, inputs, outputs, totals,
    NUM_ROWS: tl.constexpr, LENGTH: tl.constexpr, BUCKETS: tl.constexpr, BLOCK: tl.constexpr,
):
    bucket, number = tl.program_id(0), tl.program_id(1)
    before = sum_range(counts, number * BUCKETS, number * BUCKETS + bucket, BLOCK)
    row = bucket * BLOCK + tl.arange(0, BLOCK)                                     # (BLOCK,)
    inside = row < NUM_ROWS                                                        # (BLOCK,)
    pointers = table + number.to(tl.int64) * NUM_ROWS + row                        # (BLOCK,)
    source = tl.load(pointers, mask=inside, other=0)                               # (BLOCK,)
    exists = (source > 0).to(tl.int32)                                             # (BLOCK,)
    place = number.to(tl.int64) * LENGTH + before + tl.cumsum(exists, axis=0) - 1  # (BLOCK,)
    tl.store(inputs + place, source - 1, mask=exists > 0)
    tl.store(outputs + place, row, mask=exists > 0)
    if bucket == BUCKETS - 1:
        tl.store(totals + number, before + tl.sum(exists, axis=0))


@jit
def sum_range(values, start, end, BLOCK: tl.constexpr):
    """Sum of values[start:end]."""
    total = tl.zeros((BLOCK,), tl.int32)                             # (BLOCK,)
    for first in range(start, end, BLOCK):
        place = first + tl.arange(0, BLOCK)                          # (BLOCK,)
        total += tl.load(values + place, mask=place < end, other=0)  # (BLOCK,)
    return tl.sum(total, axis=0)
