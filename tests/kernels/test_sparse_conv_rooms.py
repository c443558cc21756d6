"""Sparse convolution on the voxels of a room, on a GPU: `JAX_PLATFORMS=cuda pytest -m gpu -n 0`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.convolutions import CONVOLUTIONS, KINDS, Results, conv_map_of
from fixtures.implementations import TRITON
from fixtures.voxels import CAPACITY, room_coords

from fourdc_jax import kernels

SAMPLED = 200  # rows of a room that are compared with a float64 sum
ROOM_CHANNELS = [
    (3, 32), (32, 32), (64, 64), (128, 96), (96, 96), (128, 128), (256, 256), (100, 48),
]  # fmt: skip
pytestmark = pytest.mark.parametrize("implementation", [TRITON])


@pytest.fixture(scope="module")
def voxels():
    """Coordinates of a room with padding behind, and the number of rows."""
    return room_coords()


def run_in_a_room(voxels, kind, c_in, c_out, dtype, implementation):
    """Map, arguments and results of a convolution, the stem's of 3 channels."""
    options = {"implementation": implementation}
    if kind == "submanifold":
        build = partial(kernels.build_kernel_map, kernel_size=5 if c_in == 3 else 3, **options)
    else:
        build = partial(kernels.downsample, capacity=CAPACITY // 2, **options)
    sparse_map = jax.jit(build)(*voxels)
    conv_map, rng = conv_map_of(kind, sparse_map), np.random.default_rng(c_in)
    shape = conv_map.shape
    x = random_rows(rng, shape.inputs, c_in, conv_map.num_input_rows, dtype)
    g = random_rows(rng, shape.outputs, c_out, conv_map.num_rows, dtype)
    w = jnp.asarray(rng.normal(size=(shape.volume, c_in, c_out)), dtype)

    @jax.jit
    def differentiate(sparse_map, x, w, g):
        convolve = lambda x, w: CONVOLUTIONS[kind](x, w, sparse_map, **options)  # noqa: E731
        out, pullback = jax.vjp(convolve, x, w)
        return Results(out, *pullback(g), bias=None)

    return sparse_map, (x, w, g), differentiate(sparse_map, x, w, g)


def random_rows(rng, rows, channels, num_rows, dtype):
    used = (np.arange(rows) < int(num_rows))[:, None]
    return jnp.asarray(np.where(used, rng.normal(size=(rows, channels)), 0), dtype)


def to_float64(array):
    return np.asarray(array.astype(jnp.float32), np.float64)


def relative_error(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize(("c_in", "c_out"), ROOM_CHANNELS)
def test_a_room_equals_float64(voxels, c_in, c_out, dtype, implementation):
    kmap, arguments, results = run_in_a_room(
        voxels, "submanifold", c_in, c_out, dtype, implementation
    )
    bound = 1e-6 if dtype == "float32" else float(jnp.finfo(dtype).eps)
    x, w, g = map(to_float64, arguments)
    table, n = np.asarray(kmap.rows), int(voxels[1])
    sample = np.random.default_rng(0).choice(n, SAMPLED, replace=False)
    sums = (results.out, x, w), (results.features, g, w[::-1].transpose(0, 2, 1))
    for actual, source, matrices in sums:
        rows = table[:, sample]
        gathered = np.where((rows >= 0)[..., None], source[rows], 0)
        expected = np.einsum("knc,kcd->nd", gathered, matrices)
        assert relative_error(to_float64(actual)[sample], expected) < bound
        assert not np.any(to_float64(actual)[n:])
    for offset in (0, len(table) // 2, len(table) - 2):
        exists = table[offset] >= 0
        expected = x[table[offset][exists]].T @ g[exists]
        assert relative_error(to_float64(results.weights[offset]), expected) < bound


@pytest.mark.parametrize("kind", ["strided", "transposed"])
def test_a_room_between_levels_equals_the_xla_twin(voxels, kind, implementation):
    with jax.default_matmul_precision("highest"):
        ours, twin = (
            run_in_a_room(voxels, kind, 64, 96, "float32", name)[2][:3]
            for name in (implementation, "xla")
        )
    for actual, expected in zip(ours, twin):
        assert relative_error(np.asarray(actual), np.asarray(expected, np.float64)) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("c_in", [3, 96])
def test_two_runs_of_a_room_are_bitwise_equal(voxels, kind, c_in, implementation):
    """Their maps too."""
    runs = [run_in_a_room(voxels, kind, c_in, 96, "bfloat16", implementation) for _ in "ab"]
    for first, second in zip(*map(jax.tree.leaves, runs)):
        np.testing.assert_array_equal(first, second)
