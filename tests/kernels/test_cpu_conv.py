"""The convolutions of implementation="cpu" against float64 sums, for every width of vectors."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("numba")

from fourdc_jax.kernels.sparse_conv.cpu_conv import convolve
from fourdc_jax.kernels.sparse_conv.cpu_micro import Machine, machine_of, this_machine
from fourdc_jax.kernels.sparse_conv.cpu_weight_gradient import weight_gradient
from oracles import dense

from fourdc_jax import kernels

MACHINES = [
    m for m in (Machine(16, 32), Machine(8, 16), Machine(4, 16)) if m.width <= this_machine().width
]
# k, c_in, c_out, input rows, output rows, output rows in use
PROBLEMS = [
    (27, 64, 64, 800, 1000, 990), (125, 3, 32, 700, 700, 700), (3, 1, 1, 6, 5, 4),
    (8, 20, 100, 100, 300, 200), (27, 256, 96, 100, 100, 100), (1, 16, 7, 33, 33, 33),
    (4, 5, 300, 9000, 9000, 9000), (3, 48, 64, 10, 0, 0), (2, 130, 36, 5000, 5000, 5000),
]  # fmt: skip


def problem(k, c_in, c_out, inputs, outputs, used):
    """Features, weights, bias, output gradient and a random table; padding holds NaN."""
    rng = np.random.default_rng(k + c_in)
    shapes = ((inputs, c_in), (k, c_in, c_out), (c_out,), (outputs, c_out))
    features, weights, bias, grad = (rng.normal(size=s).astype(np.float32) for s in shapes)
    rows = np.where(rng.random((k, outputs)) < 0.4, rng.integers(0, inputs, (k, outputs)), -1)
    rows[:, used:] = -1
    grad[used:] = np.nan
    unread = np.setdiff1d(np.arange(inputs), rows)
    features[unread] = np.nan
    return features, weights, bias, grad, rows.astype(np.int32)


def assert_close(actual, expected, length):
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * scale * max(1, length) ** 0.5)


def exact_sums(features, weights, rows):
    out = np.zeros((rows.shape[1], weights.shape[2]))
    for offset, table in enumerate(rows):
        to = np.nonzero(table >= 0)[0]
        out[to] += features[table[to]].astype(np.float64) @ weights[offset].astype(np.float64)
    return out


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"width {m.width}")
@pytest.mark.parametrize("sizes", PROBLEMS)
def test_results_equal_exact_sums(machine, sizes):
    features, weights, bias, grad, rows = problem(*sizes)
    used = sizes[-1]
    expected = exact_sums(features, weights, rows)
    expected[:used] += bias
    out, moments = jax.jit(
        lambda *a: convolve(*a[:4], bias=a[4], with_moments=True, machine=machine)
    )(features, weights, rows, jnp.int32(used), bias)
    assert_close(out, expected, 27)
    assert not np.any(out[used:])
    assert int(moments.counts.sum()) == used
    if used:
        counts, means, squares = map(np.asarray, moments)
        mean = (counts * means).sum(0) / used
        assert_close(mean, expected[:used].mean(0), 4)
        variance = (squares + counts * (means - mean) ** 2).sum(0) / used
        assert_close(variance, expected[:used].var(0), 16)

    reverse = jax.jit(lambda *a: convolve(*a, transposed=True, mirrored=True, machine=machine)[0])(
        features, weights.swapaxes(1, 2), rows, jnp.int32(used)
    )
    assert_close(reverse, exact_sums(features, weights, rows[::-1]), 27)

    gradient = jax.jit(lambda *a: weight_gradient(*a, machine=machine))(
        features, grad, rows, jnp.int32(used)
    )
    for offset, table in enumerate(rows):
        to = table >= 0
        pairs = features[table[to]].astype(np.float64).T @ grad[to].astype(np.float64)
        assert_close(gradient[offset], pairs, 9)


def test_widths_agree_bitwise():
    """Every sum is one chain of fused multiply-adds, in the same order for all vectors."""
    if "+fma" not in this_features() or len(MACHINES) < 2:
        pytest.skip("one width of vectors, or no fused multiply-add")
    features, weights, _, _, rows = problem(27, 64, 40, 800, 1000, 1000)
    results = [
        jax.jit(lambda *a, m=m: convolve(*a, machine=m)[0])(
            features, weights, rows, jnp.int32(1000)
        )
        for m in MACHINES
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def this_features():
    from numba.core.registry import cpu_target

    return cpu_target.target_context.codegen().magic_tuple()[2].split(",")


@pytest.mark.parametrize(
    ("triple", "features", "expected"),
    [
        ("x86_64-unknown-linux-gnu", ("+avx2", "+fma", "+avx512f"), Machine(16, 32)),
        ("x86_64-unknown-linux-gnu", ("+avx2", "+fma", "-avx512f"), Machine(8, 16)),
        ("x86_64-unknown-linux-gnu", ("+avx2", "-fma"), Machine(4, 16)),
        ("x86_64-unknown-linux-gnu", ("",), Machine(4, 16)),
        ("aarch64-unknown-linux-gnu", ("+neon",), Machine(4, 32)),
        ("arm64-apple-darwin", ("",), Machine(4, 32)),
    ],
)
def test_vectors_of_a_machine(triple, features, expected):
    assert machine_of(triple, features) == expected


IN_A_PROCESS = """
import sys
import jax, jax.numpy as jnp, numpy as np
from test_cpu_conv import problem
from fourdc_jax.kernels.sparse_conv.cpu_conv import convolve
from fourdc_jax.kernels.sparse_conv.cpu_weight_gradient import weight_gradient
features, weights, bias, grad, rows = problem(8, 20, 36, 9000, 9000, 9000)
n = jnp.int32(9000)
out, moments = jax.jit(lambda *a: convolve(*a, with_moments=True))(features, weights, rows, n)
results = [out, *moments, jax.jit(weight_gradient)(features, grad, rows, n)]
sys.stdout.buffer.write(b"".join(np.asarray(a).tobytes() for a in results))
"""


def test_threads_change_no_bit():
    def run(threads, **options):
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", **options}
        folder = os.path.dirname(__file__)
        environment["PYTHONPATH"] = os.pathsep.join([folder, os.path.dirname(folder)])
        environment["NPROC"] = str(threads)
        done = subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS], env=environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    one = run(1)
    assert len(one) > 9000 * 36 * 4
    assert run(2) == one
    assert run(4) == one
    assert run(2, JAX_ENABLE_X64="1") == one


def maps_and_values(n=700, capacity=720):
    rng = np.random.default_rng(5)
    coords = dense.random_coords(rng, n, 3, extent=8)
    padded = dense.pad_rows(coords, capacity, kernels.PAD_COORDINATE)
    features = dense.pad_rows(rng.normal(size=(n, 12)).astype(np.float32), capacity, 0)
    weights = rng.normal(0, 0.05, (27, 12, 20)).astype(np.float32)  # values stay near 1
    strided = rng.normal(0, 0.08, (8, 20, 16)).astype(np.float32)
    values = map(jnp.asarray, (features, weights, strided))
    return jnp.asarray(padded), jnp.int32(n), *values


def network(implementation):
    """Loss of three convolutions, submanifold, strided and transposed."""

    def loss(coords, num_rows, features, weights, strided):
        how = {"implementation": implementation}
        kmap = kernels.build_kernel_map(coords, num_rows, **how)
        down = kernels.downsample(coords, num_rows, capacity=coords.shape[0], **how)
        x = kernels.sparse_conv(features, weights, kmap, **how)
        x = kernels.strided_conv(x, strided, down, **how)
        x = kernels.transposed_conv(x, strided.swapaxes(1, 2), down, **how)
        return jnp.mean(jnp.sin(x))

    return loss


def test_a_network_equals_that_of_xla():
    values = maps_and_values()
    results = [
        jax.jit(jax.value_and_grad(network(name), argnums=(2, 3, 4)))(*values)
        for name in ("cpu", "xla")
    ]
    for actual, expected in zip(*map(jax.tree.leaves, results)):
        assert_close(np.asarray(actual), np.asarray(expected), 4)


def test_checkpoint_and_two_devices():
    values = maps_and_values()
    loss = network("cpu")
    gradient = jax.grad(loss, argnums=3)
    expected = np.asarray(jax.jit(gradient)(*values))
    remat = jax.jit(jax.grad(jax.checkpoint(loss), argnums=3))(*values)
    np.testing.assert_array_equal(remat, expected)
    both = jax.pmap(lambda *a: jax.lax.pmean(gradient(*a), "d"), axis_name="d")(
        *(np.stack([value, value]) for value in values)
    )
    np.testing.assert_array_equal(both[0], expected)
    np.testing.assert_array_equal(both[1], expected)


def test_bfloat16_is_rounded_once():
    coords, num_rows, features, weights, _ = maps_and_values()
    how = {"implementation": "cpu"}
    kmap = jax.jit(lambda c, n: kernels.build_kernel_map(c, n, **how))(coords, num_rows)
    half = jnp.asarray(features, jnp.bfloat16), jnp.asarray(weights, jnp.bfloat16)
    out = kernels.sparse_conv(*half, kmap, **how)
    exact = kernels.sparse_conv(*(a.astype(jnp.float32) for a in half), kmap, **how)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, exact.astype(jnp.bfloat16))


def test_a_map_of_another_implementation_is_named():
    coords, num_rows, features, weights, _ = maps_and_values()
    with_pairs, without = (
        kernels.build_kernel_map(coords, num_rows, implementation=name) for name in ("xla", "cpu")
    )
    with pytest.raises(ValueError, match="implementation='xla' reads more of a map"):
        kernels.sparse_conv(features, weights, without, implementation="xla")
    out = kernels.sparse_conv(features, weights, with_pairs, implementation="cpu")
    np.testing.assert_array_equal(
        out, kernels.sparse_conv(features, weights, without, implementation="cpu")
    )


def test_vmap_says_why_not():
    features, weights, _, _, rows = problem(8, 20, 36, 50, 50, 50)
    with pytest.raises(ValueError, match="Concatenate the scenes"):
        jax.vmap(lambda x: convolve(x, jnp.asarray(weights), jnp.asarray(rows), jnp.int32(50)))(
            jnp.asarray(features)[None]
        )
