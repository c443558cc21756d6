"""The pyramid's levels, its limits, and the layers that run on it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fourdc_jax import kernels
from fourdc_jax.sparse.batch_norm import MaskedBatchNorm
from fourdc_jax.sparse.execution import Execution
from fourdc_jax.sparse.initializers import minkowski_uniform
from fourdc_jax.sparse.layers import Pointwise, SparseConv, convolve_and_normalize
from fourdc_jax.sparse.pyramid import build_pyramid

OPTIONS = {"stride": (2, 2, 2), "kernel_type": "hypercube", "stem_kernel_size": 3}


def random_coords(n=200):
    coords = np.random.default_rng(0).integers(-9, 9, (n, 4))
    coords[:, 0] = np.abs(coords[:, 0]) % 2
    return np.unique(coords, axis=0).astype(np.int32)


@functools.partial(jax.jit, static_argnums=2)
def build(coords, num_rows, capacities):
    return build_pyramid(coords, num_rows, capacities=capacities, **OPTIONS)


@pytest.fixture(scope="module")
def pyramid():
    coords = jnp.asarray(random_coords())
    return build(coords, jnp.int32(len(coords)), (len(coords),) * 3)


def test_levels_are_the_floored_coordinates(pyramid):
    coords = random_coords()
    for index, level in enumerate(pyramid.levels):
        size = 2**index
        floored = np.concatenate([coords[:, :1], coords[:, 1:] // size * size], axis=1)
        expected = np.unique(floored, axis=0)
        assert int(level.num_rows) == len(expected)
        rows = np.asarray(level.coords)[: len(expected)]
        np.testing.assert_array_equal(np.unique(rows, axis=0), expected)


def test_level_maps_use_the_level_stride(pyramid):
    """Row of offset +x on level 1 is the neighbour two voxels on."""
    level = pyramid.levels[1]
    coords = np.asarray(level.coords)[: int(level.num_rows)]
    row_of = {tuple(c): row for row, c in enumerate(coords)}
    plus_x = kernels.kernel_offsets(3, 3).tolist().index([1, 0, 0])
    expected = [row_of.get((b, x + 2, y, z), -1) for b, x, y, z in coords.tolist()]
    np.testing.assert_array_equal(level.kernel_map.rows[plus_x, : len(coords)], expected)
    assert max(expected) >= 0


def test_limits_say_what_was_needed():
    """Too small a capacity and duplicated coordinates show, and nothing else does."""
    coords = random_coords()
    twice = jnp.asarray(np.concatenate([coords, coords[:3]]))
    pyramid = build(twice, jnp.int32(len(twice)), (len(twice), 10))
    floored = np.concatenate([coords[:, :1], coords[:, 1:] // 2], axis=1)
    needed, available = pyramid.limits["rows_level_1"]
    assert (int(needed), available) == (len(np.unique(floored, axis=0)), 10)
    assert tuple(map(int, pyramid.limits["duplicate_coordinates"])) == (3, 0)


@pytest.mark.parametrize(
    ("stem_kernel_size", "kernel_type", "shared"),
    [
        (3, "hypercube", True),
        ((3, 3, 3), "hypercube", True),
        (3, "hypercross", False),
        ((3, 3, 1), "hypercube", False),
        (5, "hypercube", False),
    ],
)
def test_stem_shares_the_map_of_an_equal_kernel(stem_kernel_size, kernel_type, shared):
    options = {"stem_kernel_size": stem_kernel_size, "kernel_type": kernel_type}

    def build(coords, num_rows):
        pyramid = build_pyramid(coords, num_rows, capacities=(9,), stride=(2, 2, 2), **options)
        assert (pyramid.stem_map is pyramid.levels[0].kernel_map) == shared
        return pyramid.stem_map

    stem_map = jax.eval_shape(build, jnp.zeros((9, 4), jnp.int32), jnp.int32(9))
    assert stem_map.rows.shape == (kernels.kernel_volume(stem_kernel_size, 3), 9)


def test_stride_must_fit_the_dimension():
    with pytest.raises(ValueError, match="stride"):
        build_pyramid(jnp.zeros((2, 5), jnp.int32), jnp.int32(1), capacities=(2, 2), **OPTIONS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layers_keep_dtype_and_padding(dtype):
    """Every layer: float32 parameters with MinkowskiEngine's bound, output in the input's dtype."""
    coords = random_coords()
    n, capacity = len(coords), len(coords) + 5
    padded = np.full((capacity, 4), kernels.PAD_COORDINATE, np.int32)
    padded[:n] = coords
    pyramid = build(jnp.asarray(padded), jnp.int32(n), (capacity, capacity))
    fine, coarse = pyramid.levels
    down = pyramid.downsamples[0]
    x = jnp.zeros((capacity, 4), dtype).at[:n].set(1)
    y = jnp.zeros((capacity, 4), dtype).at[: int(coarse.num_rows)].set(1)
    cases = [
        (SparseConv(6), (x, fine.kernel_map.submanifold), fine, 27 * 4),
        (SparseConv(6), (x, down.strided), coarse, 8 * 4),
        (SparseConv(6), (y, down.transposed), fine, 8 * 6),
        (Pointwise(6, use_bias=True), (x, fine.num_rows), fine, 4),
    ]
    for layer, arguments, level, fan in cases:
        out, variables = layer.init_with_output(jax.random.key(0), *arguments)
        assert out.dtype == jnp.dtype(dtype)
        assert out.shape == (capacity, 6)
        assert np.asarray(out[: int(level.num_rows)]).any()
        assert not np.asarray(out[int(level.num_rows) :]).any()
        for parameter in jax.tree.leaves(variables["params"]):
            assert parameter.dtype == jnp.float32
            assert jnp.abs(parameter).max() <= fan**-0.5
        assert jnp.abs(variables["params"]["kernel"]).max() > 0.8 * fan**-0.5


class ConvNorm(nn.Module):
    """One convolution and its normalisation."""

    conv: nn.Module

    @nn.compact
    def __call__(self, x, conv_map, train):
        norm = MaskedBatchNorm(momentum=0.5, name="norm")
        return convolve_and_normalize(self.conv, norm, x, conv_map, train=train)


@functools.cache
def normalized_convolutions(implementation):
    """Of each kind of convolution: outputs, statistics and gradients, evaluation, moments."""

    @jax.jit
    def run(coords, x):
        n = len(coords)
        options = OPTIONS | {"capacities": (n, n), "implementation": implementation}
        pyramid = build_pyramid(coords, jnp.int32(n), **options)
        kmap, (down,) = pyramid.levels[0].kernel_map, pyramid.downsamples
        conv_maps = kmap.submanifold, down.strided, down.transposed
        return {conv_map.shape.kind: normalize(conv_map, x) for conv_map in conv_maps}

    def normalize(conv_map, x):
        conv = SparseConv(32, Execution(implementation=implementation))
        model, x = ConvNorm(conv), kernels.zero_padding(x, conv_map.num_input_rows)
        variables = model.init(jax.random.key(1), x, conv_map, False)

        def train(params, x):
            own = {**variables, "params": params}
            args = (x, conv_map, True)
            return model.apply(own, *args, mutable=["batch_stats"])

        y, pullback, stats = jax.vjp(train, variables["params"], x, has_aux=True)
        gradients = pullback(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))
        evaluated = model.apply(variables, x, conv_map, False)
        bound = conv.bind({"params": variables["params"]["conv"]})
        _, moments = bound(x, conv_map, with_moments=True)
        counted = None if moments is None else (moments.counts.sum(), conv_map.num_rows)
        return (y, stats, gradients, evaluated), counted

    coords = jnp.asarray(random_coords())
    return run(coords, jax.random.normal(jax.random.key(0), (len(coords), 16)))


@pytest.mark.parametrize("name", ["submanifold", "strided", "transposed"])
def test_norm_with_the_kernels_moments_equals_the_norm_of_the_result(name):
    """Outputs, running statistics, all gradients, and in evaluation."""
    pytest.importorskip("triton")
    values, (counted, num_rows) = normalized_convolutions("interpret")[name]
    expected, no_moments = normalized_convolutions("xla")[name]
    assert int(counted) == int(num_rows) > 0
    assert no_moments is None
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-4), values, expected)


def test_initializer_is_uniform():
    values = minkowski_uniform(16)(jax.random.key(0), (10_000,), jnp.float32)
    assert float(values.min()) == pytest.approx(-0.25, abs=1e-3)
    assert float(values.max()) == pytest.approx(0.25, abs=1e-3)
    assert float(values.std()) == pytest.approx(0.5 / 12**0.5, rel=0.02)
