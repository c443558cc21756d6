"""The Triton hash table against a dictionary, in the interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fourdc_jax.kernels.hash_table.slot_table import num_slots, tag_bits
from fourdc_jax.kernels.hash_table.xla import _bucket
from oracles import dense

from fourdc_jax import kernels

interpreter = pytest.importorskip("triton.runtime.interpreter", reason="triton is not installed")

EXTREMES = [-(2**31), -(2**30) - 1, -(2**30), 0, 2**30, 2**31 - 1]


@jax.jit
def build(coords, num_rows):
    return kernels.build_hash_table(coords, num_rows, implementation="interpret")


@jax.jit
def find(table, coords, queries):
    return kernels.lookup(table, coords, queries, implementation="interpret")


def first_rows(coords):
    first = {}
    for row, coord in enumerate(map(tuple, coords)):
        first.setdefault(coord, row)
    return first


def assert_equals_a_dictionary(coords, num_rows, queries):
    first = first_rows(coords[:num_rows])
    table = build(coords, jnp.int32(num_rows))
    rows = find(table, coords, queries)
    assert np.asarray(rows).tolist() == [first.get(tuple(q), -1) for q in queries]
    assert int(table.num_duplicates) == num_rows - len(first)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
@pytest.mark.parametrize(("capacity", "num_rows"), [(0, 0), (1, 1), (64, 64), (37, 37), (75, 41)])
def test_lookup_equals_a_dictionary(dimension, capacity, num_rows):
    """Repeated coordinates give the lowest row, padded rows are never found."""
    rng = np.random.default_rng(capacity + dimension)
    values = np.array([*EXTREMES, -1, 1], np.int32)
    coords = rng.choice(values, size=(capacity, 1 + dimension))
    coords[: capacity // 2, 0] = np.arange(capacity // 2) % 3
    queries = np.concatenate([coords, rng.choice(values, size=(9, 1 + dimension))])
    assert_equals_a_dictionary(coords, num_rows, queries)


def test_a_table_without_rows_finds_nothing():
    coords = np.zeros((40, 4), np.int32)
    assert_equals_a_dictionary(coords, 0, coords)
    assert_equals_a_dictionary(coords, 40, np.zeros((0, 4), np.int32))


def hashes(coords):
    """The whole 32-bit mix, as uint32."""
    return np.asarray(_bucket(tuple(jnp.asarray(coords).T), 2**32)).view(np.uint32)


def colliding_coords(slots):
    """48 coordinates whose hashes name the last three slots, so that probes wrap around."""
    coords = np.stack(np.unravel_index(np.arange(4096), (1, 64, 64)), axis=1).astype(np.int32)
    return coords[hashes(coords) % slots >= slots - 3][:48]


def test_rows_that_share_slots_and_tags_are_told_apart():
    """Collisions in the slot for all rows, and in the tag as well for two coordinates."""
    n = 48
    coords = colliding_coords(num_slots(n))
    assert len(coords) == n
    assert_equals_a_dictionary(coords, n, coords)
    many = np.random.default_rng(0).integers(-(2**31), 2**31, (400_000, 2)).astype(np.int32)
    mixed = hashes(many)
    low, high = mixed % num_slots(n), mixed >> np.uint32(32 - tag_bits(n))
    _, inverse, counts = np.unique(
        high.astype(np.int64) * num_slots(n) + low, return_inverse=True, return_counts=True
    )
    twins = many[counts[inverse] > 1][:n]
    assert len(twins) >= 2
    assert_equals_a_dictionary(np.resize(twins, (n, 2)), len(twins), twins)
    absent = dense.pad_rows(twins[::2], n, 5)
    assert_equals_a_dictionary(absent, n, twins)


def test_the_order_of_arrival_does_not_matter(monkeypatch):
    """Programs in reverse order leave the same slots, and the lowest of repeated rows."""
    n = 96
    unique = colliding_coords(num_slots(n))
    unique = np.concatenate([unique, unique + np.array([1, 0, 0], np.int32)])
    repeated = np.repeat(unique[:24], 4, axis=0)[np.random.default_rng(0).permutation(n)]
    forward = build(unique, jnp.int32(n)).slots
    run = interpreter.interpreter_builder.set_grid_idx
    reversed_grid = []

    def set_grid_idx(x, y, z):
        x = interpreter.interpreter_builder.grid_dim[0] - 1 - x
        reversed_grid.append(x)
        run(x, y, z)

    monkeypatch.setattr(interpreter.interpreter_builder, "set_grid_idx", set_grid_idx)
    np.testing.assert_array_equal(build(unique, jnp.int32(n)).slots, forward)
    assert reversed_grid[:3] == [2, 1, 0]
    assert_equals_a_dictionary(repeated, n, unique)


def test_repeated_coordinates_share_one_slot():
    """Many rows of few voxels, as parents are, do not make probes long."""
    voxels = dense.random_coords(np.random.default_rng(0), 12, 3)
    coords = np.repeat(voxels, 16, axis=0)
    table = build(coords, jnp.int32(len(coords)))
    assert np.count_nonzero(table.slots) == 12


def test_a_table_of_another_implementation_is_refused():
    coords, count = jnp.zeros((4, 4), jnp.int32), jnp.int32(1)
    for built, used in (("xla", "interpret"), ("interpret", "xla")):
        table = kernels.build_hash_table(coords, count, implementation=built)
        with pytest.raises(ValueError, match=f"another implementation than '{used}'"):
            kernels.lookup(table, coords, coords, implementation=used)
        with pytest.raises(ValueError, match=f"another implementation than '{used}'"):
            kernels.build_kernel_map(coords, count, table=table, implementation=used)
