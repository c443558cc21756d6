"""Hash tables of every implementation against a Python dictionary."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.implementations import ALL_AND_CPU, CPU, INTERPRET, KERNELS
from fourdc_jax.kernels.hash_table.slot_table import num_slots, tag_bits
from fourdc_jax.kernels.hash_table.xla import _bucket
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense, maps

from fourdc_jax import kernels

EXTREMES = [-(2**31), -(2**30) - 1, -(2**30), 0, 2**30, 2**31 - 1]
CAPACITY = 24


@partial(jax.jit, static_argnames="implementation")
def build(coords, num_rows, implementation):
    return kernels.build_hash_table(coords, num_rows, implementation=implementation)


@partial(jax.jit, static_argnames="implementation")
def build_and_find(coords, num_rows, queries, implementation):
    """Rows of the queries, and how many rows have a coordinate of a lower one."""
    table = kernels.build_hash_table(coords, num_rows, implementation=implementation)
    rows = kernels.lookup(table, coords, queries, implementation=implementation)
    return rows, table.num_duplicates


def assert_equals_a_dictionary(coords, num_rows, queries, implementation):
    first = maps.first_rows(coords[:num_rows])
    rows, repeated = build_and_find(coords, jnp.int32(num_rows), queries, implementation)
    assert rows.tolist() == [first.get(tuple(q), -1) for q in queries.tolist()]
    assert int(repeated) == num_rows - len(first)


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
@pytest.mark.parametrize(
    ("dimension", "capacity", "num_rows"),
    [
        (1, 75, 41), (1, 1, 1), (2, 75, 41), (2, 64, 64), (3, 75, 41), (3, 0, 0), (3, 1, 1),
        (3, 64, 64), (3, 37, 37), (4, 75, 41), (4, 0, 0), (4, 37, 37),
    ],
)  # fmt: skip
def test_lookup_equals_a_dictionary(dimension, capacity, num_rows, implementation):
    """Repeated coordinates give the lowest row, padded rows are never found."""
    rng = np.random.default_rng(capacity + dimension)
    values = np.array([*EXTREMES, -1, 1], np.int32)
    coords = rng.choice(values, size=(capacity, 1 + dimension))
    coords[: capacity // 2, 0] = np.arange(capacity // 2) % 3
    queries = np.concatenate([coords, rng.choice(values, size=(9, 1 + dimension))])
    assert_equals_a_dictionary(coords, num_rows, queries, implementation)


@st.composite
def coordinate_arrays(draw):
    """Up to CAPACITY rows of coordinates, duplicates and extreme values included."""
    value = st.one_of(st.integers(-2, 2), st.sampled_from([-(2**31), 2**31 - 1, -(2**30), 10**6]))
    rows = draw(st.lists(st.tuples(st.integers(0, 2), value, value, value), max_size=CAPACITY))
    return np.array(rows, np.int32).reshape(-1, 4)


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
@settings(max_examples=30, deadline=None)
@given(coordinate_arrays(), coordinate_arrays(), st.integers(-(2**31), 2**31 - 1))
def test_any_rows_and_any_padding(implementation, coords, queries, garbage):
    """Whatever padded rows hold, hits are the lowest rows and padding is never found."""
    padded = dense.pad_rows(coords, CAPACITY, garbage)
    padded_queries = dense.pad_rows(queries, CAPACITY, 7)
    assert_equals_a_dictionary(padded, len(coords), padded_queries, implementation)


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
def test_a_table_without_rows_finds_nothing(implementation):
    coords = np.zeros((40, 4), np.int32)
    assert_equals_a_dictionary(coords, 0, coords, implementation)
    assert_equals_a_dictionary(coords, 40, np.zeros((0, 4), np.int32), implementation)


def hashes(coords):
    """The whole 32-bit mix, as uint32."""
    return np.asarray(_bucket(tuple(jnp.asarray(coords).T), 2**32)).view(np.uint32)


def colliding_coords(slots):
    """48 coordinates whose hashes name the last three slots, so that probes wrap around."""
    coords = np.stack(np.unravel_index(np.arange(4096), (1, 64, 64)), axis=1).astype(np.int32)
    return coords[hashes(coords) % slots >= slots - 3][:48]


@pytest.mark.parametrize("implementation", ALL_AND_CPU)
def test_rows_that_share_slots_and_tags_are_told_apart(implementation):
    """Collisions in the slot for all rows, and in the tag as well for two coordinates."""
    n = 48
    coords = colliding_coords(num_slots(n))
    assert len(coords) == n
    assert_equals_a_dictionary(coords, n, coords, implementation)
    many = np.random.default_rng(0).integers(-(2**31), 2**31, (400_000, 2)).astype(np.int32)
    mixed = hashes(many)
    low, high = mixed % num_slots(n), mixed >> np.uint32(32 - tag_bits(n))
    _, inverse, counts = np.unique(
        high.astype(np.int64) * num_slots(n) + low, return_inverse=True, return_counts=True
    )
    twins = many[counts[inverse] > 1][:n]
    assert len(twins) >= 2
    assert_equals_a_dictionary(np.resize(twins, (n, 2)), len(twins), twins, implementation)
    absent = dense.pad_rows(twins[::2], n, 5)
    assert_equals_a_dictionary(absent, n, twins, implementation)


@pytest.mark.parametrize("implementation", [INTERPRET])
def test_the_order_of_arrival_does_not_matter(monkeypatch, implementation):
    """Programs in reverse order leave the same slots, and the lowest of repeated rows."""
    from triton.runtime.interpreter import interpreter_builder

    n = 96
    unique = colliding_coords(num_slots(n))
    unique = np.concatenate([unique, unique + np.array([1, 0, 0], np.int32)])
    repeated = np.repeat(unique[:24], 4, axis=0)[np.random.default_rng(0).permutation(n)]
    forward = build(unique, jnp.int32(n), implementation).slots
    run = interpreter_builder.set_grid_idx
    reversed_grid = []

    def set_grid_idx(x, y, z):
        x = interpreter_builder.grid_dim[0] - 1 - x
        reversed_grid.append(x)
        run(x, y, z)

    monkeypatch.setattr(interpreter_builder, "set_grid_idx", set_grid_idx)
    np.testing.assert_array_equal(build(unique, jnp.int32(n), implementation).slots, forward)
    assert reversed_grid[:3] == [2, 1, 0]
    assert_equals_a_dictionary(repeated, n, unique, implementation)


@pytest.mark.parametrize("implementation", [*KERNELS, CPU])
def test_repeated_coordinates_share_one_slot(implementation):
    """Many rows of few voxels, as parents are, do not make probes long."""
    voxels = dense.random_coords(np.random.default_rng(0), 12, 3)
    coords = np.repeat(voxels, 16, axis=0)
    table = build(coords, jnp.int32(len(coords)), implementation)
    assert np.count_nonzero(table.slots) == 12


@pytest.mark.parametrize("with_slots", [*KERNELS, CPU])
def test_a_table_of_another_implementation_is_refused(with_slots):
    coords, count = jnp.zeros((4, 4), jnp.int32), jnp.int32(1)
    for built, used in (("xla", with_slots), (with_slots, "xla")):
        table = kernels.build_hash_table(coords, count, implementation=built)
        with pytest.raises(ValueError, match=f"another implementation than '{used}'"):
            kernels.lookup(table, coords, coords, implementation=used)
        with pytest.raises(ValueError, match=f"another implementation than '{used}'"):
            kernels.build_kernel_map(coords, count, table=table, implementation=used)


def test_columns_that_no_table_has_are_refused():
    with pytest.raises(ValueError, match="d from 1 to 4"):
        kernels.build_hash_table(jnp.zeros((4, 7), jnp.int32), jnp.int32(4))
