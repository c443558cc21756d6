"""Hash table in plain jnp: rows sorted by bucket, found by walking one short bucket.

With twice as many buckets as rows a bucket holds 0.5 rows on average and about 8 at most for 10^5
rows, so a batch of lookups takes that many vectorised rounds. Coordinates are kept one column an
array and in bucket order, which makes a round's reads contiguous or close together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from fourdc_jax.kernels.padding import valid_rows
from jax import lax
from jaxtyping import Array, Int32


class HashTable(NamedTuple):
    """Rows grouped by the hash of their coordinate.

    Attributes:
      starts: first position of each bucket in `rows`; one more entry than there are buckets.
      rows: row indices sorted by (bucket, row); padded rows are last and in no bucket.
      columns: the coordinates of `rows`, one array a column.
      longest: size of the largest bucket, the number of rounds a lookup takes.
      num_duplicates: rows whose coordinate stands in a lower row too.
    """

    starts: Int32[Array, "buckets_plus_one"]
    rows: Int32[Array, "n"]
    columns: tuple[Int32[Array, "n"], ...]
    longest: Int32[Array, ""]
    num_duplicates: Int32[Array, ""]


def build_hash_table(coords: Int32[Array, "n columns"], num_rows: Int32[Array, ""]) -> HashTable:
    """Group the rows by bucket with one stable sort: O(n log n), deterministic."""
    capacity = coords.shape[0]
    columns = tuple(jnp.asarray(coords).T)
    valid = valid_rows(capacity, num_rows)
    own = jnp.arange(capacity, dtype=jnp.int32)
    num_buckets = 2 << (max(capacity, 1) - 1).bit_length()
    bucket = jnp.where(valid, _bucket(columns, num_buckets), num_buckets)
    _, rows = lax.sort((bucket, own), num_keys=1, is_stable=True)
    sizes = jnp.zeros(num_buckets, jnp.int32).at[bucket].add(1, mode="drop")
    starts = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(sizes, dtype=jnp.int32)])
    sorted_columns = tuple(column[rows] for column in columns)
    table = HashTable(starts, rows, sorted_columns, jnp.max(sizes), jnp.int32(0))
    duplicates = jnp.sum(valid & (find(table, columns) != own), dtype=jnp.int32)
    return table._replace(num_duplicates=duplicates)


def find(table: HashTable, queries: Sequence[Int32[Array, "q"]]) -> Int32[Array, "q"]:
    """Compare every query, one array a column, with the members of its bucket, one a round."""
    capacity = table.rows.shape[0]
    if capacity == 0:
        return jnp.full(queries[0].shape, -1, jnp.int32)
    bucket = _bucket(queries, table.starts.shape[0] - 1)
    start, end = table.starts[bucket], table.starts[bucket + 1]

    def compare_member(number: Int32[Array, ""], found: Int32[Array, "q"]) -> Int32[Array, "q"]:
        position = jnp.minimum(start + number, capacity - 1)
        hit = (start + number < end) & (found < 0)
        for column, query in zip(table.columns, queries):
            hit &= column.at[position].get(mode="promise_in_bounds") == query
        return jnp.where(hit, position, found)

    nothing = jnp.full(queries[0].shape, -1, jnp.int32)
    position = lax.fori_loop(0, table.longest, compare_member, nothing)
    return jnp.where(position < 0, -1, table.rows[jnp.maximum(position, 0)])


def _bucket(columns: Sequence[Int32[Array, "q"]], num_buckets: int) -> Int32[Array, "q"]:
    """Murmur3-style mix of all columns, reduced to a power of two of buckets."""
    mixed = jnp.zeros(columns[0].shape, jnp.uint32)
    for column in columns:
        mixed = mixed * jnp.uint32(0x9E3779B1) + lax.bitcast_convert_type(column, jnp.uint32)
        mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
    mixed = mixed ^ (mixed >> 16)
    return (mixed & jnp.uint32(num_buckets - 1)).astype(jnp.int32)
