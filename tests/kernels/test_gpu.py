"""The Triton convolutions on a GPU, at real sizes: `JAX_PLATFORMS=cuda pytest -m gpu -n 0`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.implementations import gpu
from fixtures.voxels import CAPACITY, room_coords

from fourdc_jax import kernels

pytestmark = gpu

SAMPLED = 200  # rows that are compared with a float64 sum


@pytest.fixture(scope="module")
def voxels():
    """Coordinates of a room with padding behind, and the number of rows."""
    coords, num_rows = room_coords()
    return jnp.asarray(coords), jnp.asarray(num_rows)


def build_maps(coords, num_rows, implementation):
    """Every map of one level."""
    options = {"implementation": implementation}
    kmap = kernels.build_kernel_map(coords, num_rows, **options)
    stem = kernels.build_kernel_map(coords, num_rows, kernel_size=5, **options)
    down = kernels.downsample(coords, num_rows, capacity=CAPACITY // 2, **options)
    return kmap, stem, down


def problem(kmap, num_rows, c_in, c_out, dtype):
    rng = np.random.default_rng(c_in)
    volume, n = kmap.rows.shape
    valid = (np.arange(n) < int(num_rows))[:, None]
    x = jnp.asarray(np.where(valid, rng.normal(size=(n, c_in)), 0), dtype)
    g = jnp.asarray(np.where(valid, rng.normal(size=(n, c_out)), 0), dtype)
    return x, jnp.asarray(rng.normal(size=(volume, c_in, c_out)), dtype), g


@partial(jax.jit, static_argnames="implementation")
def forward_and_gradients(x, w, g, kmap, implementation):
    y, pullback = jax.vjp(
        lambda x, w: kernels.sparse_conv(x, w, kmap, implementation=implementation), x, w
    )
    return (y, *pullback(g))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize(
    ("c_in", "c_out"),
    [(3, 32), (32, 32), (64, 64), (128, 96), (96, 96), (128, 128), (256, 256), (100, 48)],
)
def test_convolutions_equal_float64(voxels, c_in, c_out, dtype):
    kmap, stem, _ = jax.jit(partial(build_maps, implementation="triton"))(*voxels)
    kmap = stem if c_in == 3 else kmap
    x, w, g = problem(kmap, voxels[1], c_in, c_out, dtype)
    y, dx, dw = forward_and_gradients(x, w, g, kmap, "triton")
    table = np.asarray(kmap.rows)
    sample = np.random.default_rng(0).choice(int(voxels[1]), SAMPLED, replace=False)
    exact = [np.asarray(a.astype(jnp.float32), np.float64) for a in (x, w, g)]
    for out, source, matrices in (
        (y, exact[0], exact[1]),
        (dx, exact[2], exact[1][::-1].transpose(0, 2, 1)),
    ):
        rows = table[:, sample]
        gathered = np.where((rows >= 0)[..., None], source[rows], 0)
        expected = np.einsum("knc,kcd->nd", gathered, matrices)
        assert relative_error(np.asarray(out.astype(jnp.float32))[sample], expected) < bound(dtype)
        assert not np.any(np.asarray(out.astype(jnp.float32))[int(voxels[1]) :])
    for offset in (0, len(table) // 2, len(table) - 2):
        exists = table[offset] >= 0
        expected = exact[0][table[offset][exists]].T @ exact[2][exists]
        assert relative_error(np.asarray(dw[offset].astype(jnp.float32)), expected) < bound(dtype)


def relative_error(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def bound(dtype):
    return 1e-6 if dtype == jnp.float32 else float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("conv", [kernels.strided_conv, kernels.transposed_conv])
def test_strided_layers_equal_the_xla_twin(voxels, conv):
    rng = np.random.default_rng(0)
    w = jnp.asarray(rng.normal(size=(8, 64, 96)), jnp.float32)
    results = []
    for name in ("triton", "xla"):
        down = jax.jit(partial(build_maps, implementation=name))(*voxels)[2]
        fine, coarse = int(voxels[1]), int(down.num_rows)
        n, valid = (CAPACITY, fine) if conv is kernels.strided_conv else (CAPACITY // 2, coarse)
        x = np.zeros((n, 64), np.float32)
        x[:valid] = np.random.default_rng(1).normal(size=(valid, 64))
        with jax.default_matmul_precision("highest"):
            y, pullback = jax.vjp(
                lambda x, w: conv(x, w, down, implementation=name),  # noqa: B023
                jnp.asarray(x), w,
            )  # fmt: skip
            results.append((y, *pullback(y)))
    for ours, twin in zip(*results):
        assert relative_error(np.asarray(ours), np.asarray(twin, np.float64)) < 1e-5


def test_two_runs_are_bitwise_equal(voxels):
    results = []
    for _ in range(2):
        kmap, stem, _ = jax.jit(partial(build_maps, implementation="triton"))(*voxels)
        results.append([])
        for m, channels in ((kmap, (96, 96)), (stem, (3, 32))):
            x, w, g = problem(m, voxels[1], *channels, jnp.bfloat16)
            results[-1].append(forward_and_gradients(x, w, g, m, "triton"))
    for first, second in zip(*map(jax.tree.leaves, results)):
        np.testing.assert_array_equal(first, second)
