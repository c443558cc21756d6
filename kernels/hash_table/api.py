"""Hash table over integer coordinates: coordinate -> row index."""

from fourdc_jax.kernels.hash_table import xla
from fourdc_jax.kernels.hash_table.slot_table import SlotTable, num_slots
from fourdc_jax.kernels.hash_table.xla import HashTable
from fourdc_jax.kernels.implementation import Implementation, resolve
from fourdc_jax.kernels.padding import check_coords
from jaxtyping import Array, Int32


def build_hash_table(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    *,
    implementation: Implementation = "auto",
) -> HashTable | SlotTable:
    """Index the first `num_rows` coordinates; duplicates resolve to the lowest row.

    Args:
      coords: int32 [n, 1 + d], batch index first, d from 1 to 4; any int32 values, negative too.
      num_rows: int32 scalar; rows at or beyond it are never found.
      implementation: see `kernels.implementation.resolve`.

    Returns:
      A table of O(n) integers; `table.num_duplicates` counts rows whose coordinate a lower row has.

    Raises:
      ValueError: wrong shapes or dtypes, or an implementation that is not available.
    """
    check_coords(coords, num_rows)
    if (resolved := resolve(implementation)) == "xla":
        return xla.build_hash_table(coords, num_rows)
    if resolved == "cpu":
        from fourdc_jax.kernels.hash_table import cpu

        return cpu.build_hash_table(coords, num_rows)
    from fourdc_jax.kernels.hash_table import triton

    return triton.build_hash_table(coords, num_rows, resolved)


def lookup(
    table: HashTable | SlotTable,
    coords: Int32[Array, "n columns"],
    queries: Int32[Array, "q columns"],
    *,
    implementation: Implementation = "auto",
) -> Int32[Array, "q"]:
    """Row of each query coordinate in `coords`, -1 where absent.

    Args:
      table: what `build_hash_table(coords, ...)` returned for the same implementation.
      coords: the indexed coordinates, int32 [n, 1 + d].
      queries: int32 [q, 1 + d].

    Raises:
      ValueError: `queries` has another number of columns or another dtype than `coords`, or the
        table is another implementation's.
    """
    if queries.ndim != 2 or queries.shape[1] != coords.shape[1] or queries.dtype != coords.dtype:
        raise ValueError(
            f"queries must be {coords.dtype} [q, {coords.shape[1]}] as the coordinates, "
            f"got {queries.dtype} {tuple(queries.shape)}."
        )
    resolved = resolve(implementation)
    check_table(table, coords, resolved)
    if resolved == "xla":
        return xla.find(table, tuple(queries.T))
    if resolved == "cpu":
        from fourdc_jax.kernels.hash_table import cpu

        return cpu.lookup(table, coords, queries)
    from fourdc_jax.kernels.hash_table import triton

    return triton.lookup(table, coords, queries, resolved)


def check_table(
    table: HashTable | SlotTable, coords: Int32[Array, "n columns"], implementation: str
) -> None:
    """Raise a ValueError where a table is not one of these rows for this implementation."""
    if isinstance(table, HashTable) != (implementation == "xla"):
        raise ValueError(
            f"the table was built by another implementation than {implementation!r}: pass the same "
            "`implementation` where it is built and where it is used."
        )
    n = coords.shape[0]
    fits = table.rows.shape[0] == n if implementation == "xla" else len(table.slots) == num_slots(n)
    if not fits:
        raise ValueError(f"the table was built of another number of rows than {n}.")
