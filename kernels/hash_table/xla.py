"""Hash table in plain jnp: rows sorted by bucket, found by walking one short bucket.

With twice as many buckets as rows a bucket holds 0.5 rows on average and about 8 at most for 10^5
rows, so a batch of lookups takes that many vectorised rounds.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int32, UInt32

from kernels.padding import valid_rows


class HashTable(NamedTuple):
    """Rows grouped by the hash of their coordinate.

    Attributes:
      starts: first position of each bucket in `rows`; one more entry than there are buckets.
      rows: row indices sorted by (bucket, row); padded rows are last and in no bucket.
      longest: size of the largest bucket, the number of rounds a lookup takes.
      num_duplicates: rows whose coordinate stands in a lower row too.
    """

    starts: Int32[Array, "buckets_plus_one"]
    rows: Int32[Array, "n"]
    longest: Int32[Array, ""]
    num_duplicates: Int32[Array, ""]


def build_hash_table(coords: Int32[Array, "n columns"], num_rows: Int32[Array, ""]) -> HashTable:
    """Group the rows by bucket with one stable sort: O(n log n), deterministic."""
    capacity = coords.shape[0]
    num_buckets = 2 * _next_power_of_two(max(capacity, 1))
    valid = valid_rows(capacity, num_rows)
    bucket = jnp.where(valid, _bucket(coords, num_buckets), num_buckets)
    _, rows = lax.sort((bucket, jnp.arange(capacity, dtype=jnp.int32)), num_keys=1, is_stable=True)
    sizes = jnp.zeros(num_buckets, jnp.int32).at[bucket].add(1, mode="drop")
    ends = jnp.cumsum(sizes, dtype=jnp.int32)
    starts = jnp.concatenate([jnp.zeros(1, jnp.int32), ends])
    longest = jnp.max(sizes)
    table = HashTable(starts, rows, longest, jnp.zeros((), jnp.int32))
    first = lookup(table, coords, coords)
    duplicates = jnp.sum(valid & (first != jnp.arange(capacity, dtype=jnp.int32)), dtype=jnp.int32)
    return HashTable(starts, rows, longest, duplicates)


def lookup(
    table: HashTable, coords: Int32[Array, "n columns"], queries: Int32[Array, "q columns"]
) -> Int32[Array, "q"]:
    """Compare every query with the members of its bucket, one member a round."""
    capacity = coords.shape[0]
    if capacity == 0:
        return jnp.full(queries.shape[0], -1, jnp.int32)
    bucket = _bucket(queries, table.starts.shape[0] - 1)
    start, end = table.starts[bucket], table.starts[bucket + 1]

    def compare_member(round_: Int32[Array, ""], found: Int32[Array, "q"]) -> Int32[Array, "q"]:
        position = start + round_
        row = table.rows[jnp.minimum(position, capacity - 1)]
        hit = (position < end) & (found < 0)
        for column in range(coords.shape[1]):
            hit &= coords[row, column] == queries[:, column]
        return jnp.where(hit, row, found)

    nothing = jnp.full(queries.shape[0], -1, jnp.int32)
    return lax.fori_loop(0, table.longest, compare_member, nothing)


def _bucket(coords: Int32[Array, "q columns"], num_buckets: int) -> Int32[Array, "q"]:
    """Murmur3-style mix of all columns, reduced to a power of two of buckets."""
    mixed: UInt32[Array, q] = jnp.zeros(coords.shape[0], jnp.uint32)
    for column in range(coords.shape[1]):
        mixed = mixed * jnp.uint32(0x9E3779B1) + lax.bitcast_convert_type(
            coords[:, column], jnp.uint32
        )
        mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
    mixed = mixed ^ (mixed >> 16)
    return (mixed & jnp.uint32(num_buckets - 1)).astype(jnp.int32)


def _next_power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
