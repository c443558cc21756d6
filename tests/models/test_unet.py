"""The sparse U-Net against the same network written densely, in float64 on a grid."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fourdc_jax import kernels
from fourdc_jax.models.unet import SparseUNet
from fourdc_jax.sparse.execution import Execution

EPSILON = 1e-5


class DenseUNet:
    """SparseUNet's layers as dense convolutions on [b, c, *grid], masked to the occupied cells."""

    def __init__(self, unet, params, coords, shape):
        self.unet, self.params = unet, params
        self.stride = unet.stride or (2,) * unet.dimension
        self.index = (coords[:, 0], slice(None), *coords[:, 1:].T)
        occupied = np.zeros(shape, bool)
        occupied[tuple(coords.T)] = True
        self.masks = [occupied]
        for _ in range(4):
            mask = self.masks[-1]
            split = [(n // s, s) for n, s in zip(mask.shape[1:], self.stride)]
            blocks = mask.reshape(mask.shape[0], *itertools.chain(*split))
            self.masks.append(blocks.any(axis=tuple(range(2, blocks.ndim, 2))))

    def __call__(self, features):
        batch, *grid = self.masks[0].shape
        x = jnp.zeros((batch, features.shape[1], *grid), features.dtype)
        x = x.at[self.index].set(features)
        x = self.conv(x, self.params["stem_conv"], self.unet.stem_kernel_size, "hypercube")
        x = self.activate(x, "stem_norm", 0)
        skips = []
        for level in range(1, 5):
            skips.append(x)
            kernel = self.window(self.params[f"down{level}_conv"], self.stride, "hypercube")
            x = lax.conv_general_dilated(x, kernel, self.stride, "VALID")
            x = self.activate(x, f"down{level}_norm", level)
            x = self.stage(x, level, level)
        for stage, level in zip(range(5, 9), (3, 2, 1, 0)):
            x = self.upsample(x, self.params[f"up{stage}_conv"]["kernel"])
            x = self.activate(x, f"up{stage}_norm", level)
            x = self.stage(jnp.concatenate([x, skips.pop()], axis=1), stage, level)
        final = self.params["final"]
        return x[self.index] @ final["kernel"] + final["bias"]

    def stage(self, x, stage, level):
        for block in range(1, self.unet.layers[stage - 1] + 1):
            params = self.params[f"stage{stage}_block{block}"]
            basic = self.unet.block == "basic"
            size = (3, 3) if basic else (1, 3, 1)
            y = x
            for i, k in enumerate(size, 1):
                y = self.conv(y, params[f"conv{i}"], k, self.unet.kernel_type)
                y = self.norm(y, params[f"norm{i}"], level)
                y = y if i == len(size) else jax.nn.relu(y)
            if "shortcut_conv" in params:
                x = self.conv(x, params["shortcut_conv"], 1, "hypercube")
                x = self.norm(x, params["shortcut_norm"], level)
            x = jax.nn.relu(x + y)
        return x

    def activate(self, x, name, level):
        return jax.nn.relu(self.norm(x, self.params[name], level))

    def norm(self, x, params, level):
        mask = jnp.asarray(self.masks[level][:, None])
        axes = (0, *range(2, x.ndim))
        x = jnp.where(mask, x, 0)
        count = float(self.masks[level].sum())
        mean = x.sum(axes, keepdims=True) / count
        var = jnp.where(mask, (x - mean) ** 2, 0).sum(axes, keepdims=True) / count
        scale, bias = (params[k].reshape(1, -1, *[1] * (x.ndim - 2)) for k in ("scale", "bias"))
        return jnp.where(mask, (x - mean) / jnp.sqrt(var + EPSILON) * scale + bias, 0)

    def conv(self, x, params, size, kernel_type):
        window = self.window(params, size, kernel_type)
        return lax.conv_general_dilated(x, window, (1,) * self.unet.dimension, "SAME")

    def window(self, params, size, kernel_type):
        """Weights [k, c_in, c_out] as the dense window [c_out, c_in, *sizes]."""
        offsets = kernels.kernel_offsets(size, self.unet.dimension, kernel_type)
        offsets = offsets - offsets.min(axis=0)
        kernel = params["kernel"].reshape(len(offsets), *params["kernel"].shape[-2:])
        window = jnp.zeros((*offsets.max(axis=0) + 1, *kernel.shape[1:]), kernel.dtype)
        return jnp.moveaxis(window.at[tuple(offsets.T)].set(kernel), (-1, -2), (0, 1))

    def upsample(self, x, kernel):
        batch, _, *grid = x.shape
        fine = [n * s for n, s in zip(grid, self.stride)]
        out = jnp.zeros((batch, kernel.shape[-1], *fine), x.dtype)
        offsets = kernels.kernel_offsets(self.stride, self.unet.dimension)
        for weights, offset in zip(kernel, offsets):
            where = [slice(o, None, s) for o, s in zip(offset.tolist(), self.stride)]
            child = jnp.einsum("bc...,cd->bd...", x, weights)
            out = out.at[(slice(None), slice(None), *where)].set(child)
        return out


def random_coords(batch, grid, count, seed=0):
    """Unique sorted coordinates on a random surface-like subset of the grid."""
    rng = np.random.default_rng(seed)
    coords = np.stack([rng.integers(0, n, count) for n in (batch, *grid)], axis=1)
    coords[: count // 2, 3] = coords[: count // 2, 1] // 2  # half of them on a plane
    return rng.permutation(np.unique(coords, axis=0)).astype(np.int32)


def run_sparse(unet, params, coords, num_rows, features, cotangent, capacities):
    """Outputs and gradients with respect to parameters and features."""

    def loss(params, coords, num_rows, features):
        pyramid = unet.build_pyramid(coords, num_rows, capacities)
        variables = {"params": params, "batch_stats": stats}
        y, _ = unet.apply(variables, features, pyramid, train=True, mutable=["batch_stats"])
        return jnp.sum(y * cotangent), (y, pyramid.limits)

    stats = fill(jax.eval_shape(lambda: initialize(unet, features.shape[1]))["batch_stats"])
    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 3), has_aux=True))
    (_, (y, limits)), gradients = step(params, coords, num_rows, features)
    for needed, available in limits.values():
        assert needed <= available
    return y, *gradients


def initialize(unet, in_channels):
    coords = jnp.zeros((4, 1 + unet.dimension), jnp.int32)
    pyramid = unet.build_pyramid(coords, jnp.int32(1), (4,) * 5)
    return unet.init(jax.random.key(0), jnp.zeros((4, in_channels)), pyramid, train=False)


def random_params(unet, in_channels):
    """Parameters of the right shapes; norms' scales and biases far from 1 and 0."""
    shapes = jax.eval_shape(lambda: initialize(unet, in_channels))["params"]
    return fill(shapes, np.random.default_rng(0))


def fill(shapes, rng=None):
    """Arrays of the given shapes: zeros, or random ones of the size of fresh weights."""

    def fill_leaf(leaf):
        if rng is None:
            return jnp.zeros(leaf.shape)
        fan = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 1.0
        return jnp.asarray(rng.normal(size=leaf.shape) / np.sqrt(fan), jnp.float32)

    return jax.tree.map(fill_leaf, shapes)


CASES = {
    "3d": (
        SparseUNet(
            dimension=3,
            planes=(3, 4, 4, 5, 4, 3, 4, 3),
            layers=(1, 0, 0, 1, 0, 1, 0, 0),
            out_channels=2,
            stem_channels=3,
            stem_kernel_size=5,
        ),
        (32, 16, 16),
    ),
    "4d, hybrid kernel, time not strided, bottleneck, recomputed": (
        SparseUNet(
            dimension=4,
            planes=(2,) * 8,
            layers=(1, 0, 0, 0, 0, 0, 1, 0),
            out_channels=2,
            block="bottleneck",
            stem_channels=3,
            stem_kernel_size=(3, 3, 3, 1),
            kernel_type="hybrid",
            stride=(2, 2, 2, 1),
            execution=Execution(remat=True),
        ),
        (16, 16, 16, 2),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_dense_network_in_float64(case):
    """Forward and all gradients; rows in random order, negative coordinates, spare capacity."""
    unet, grid = CASES[case]
    coords = random_coords(2, grid, 1500)
    n, capacity = len(coords), len(coords) + 37
    rng = np.random.default_rng(2)
    features = rng.normal(size=(n, 2)).astype(np.float32)
    cotangent = rng.normal(size=(n, 2)).astype(np.float32)
    params = random_params(unet, 2)

    padded = np.full((capacity, coords.shape[1]), kernels.PAD_COORDINATE, np.int32)
    padded[:n] = coords
    padded[:n, 1:4] -= 16  # a multiple of the coarsest tensor stride
    padding = [(0, capacity - n), (0, 0)]
    y, dparams, dfeatures = run_sparse(
        unet,
        params,
        jnp.asarray(padded),
        jnp.int32(n),
        jnp.pad(features, padding),
        jnp.pad(cotangent, padding),
        (capacity, 1250, 700, 100, 16),
    )
    assert not np.asarray(y)[n:].any()
    assert not np.asarray(dfeatures)[n:].any()

    expected, dparams64, dfeatures64 = run_dense(unet, params, coords, grid, features, cotangent)
    assert relative_error(y[:n], expected) < 1e-4
    assert relative_error(dfeatures[:n], dfeatures64) < 1e-3
    # A kernel in front of a batch norm may have a gradient that nearly cancels: its rounding error
    # is that of the terms, so part of the tolerance is relative to the largest gradient.
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(dparams64))
    for path, exact in jax.tree_util.tree_leaves_with_path(dparams64):
        actual = functools.reduce(lambda tree, key: tree[key.key], path, dparams)
        np.testing.assert_allclose(
            np.asarray(actual),
            exact,
            rtol=0,
            atol=1e-4 * np.abs(exact).max() + 3e-5 * largest,
            err_msg=jax.tree_util.keystr(path),
        )


def run_dense(unet, params, coords, grid, features, cotangent):
    """Outputs and gradients of the dense network in float64."""
    with jax.enable_x64(True):
        cotangent = cotangent.astype(np.float64)

        def loss(params, features):
            y = DenseUNet(unet, params, coords, (2, *grid))(features)
            return jnp.sum(y * cotangent), y

        params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
        step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        (_, y), gradients = step(params, features.astype(np.float64))
        return jax.tree.map(np.asarray, (y, *gradients))


def relative_error(actual, exact):
    return float(np.abs(np.asarray(actual) - exact).max() / np.abs(exact).max())


def test_bfloat16_is_for_features_only():
    """Gradients and running statistics stay float32; the layers' tests check the values."""
    unet = SparseUNet(3, (4,) * 8, (1,) * 8, 2, execution=Execution(dtype="bfloat16"))

    def loss(params, stats):
        pyramid = unet.build_pyramid(jnp.zeros((4, 4), jnp.int32), jnp.int32(1), (4,) * 5)
        variables = {"params": params, "batch_stats": stats}
        y, new = unet.apply(
            variables, jnp.ones((4, 1)), pyramid, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(y.astype(jnp.float32)), (y, new)

    variables = jax.eval_shape(lambda: initialize(unet, 1))
    args = (variables["params"], variables["batch_stats"])
    (_, (y, stats)), gradients = jax.eval_shape(jax.value_and_grad(loss, has_aux=True), *args)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((stats, gradients))} == {jnp.dtype("float32")}


def test_wrong_capacities_are_told():
    unet = SparseUNet(3, (4,) * 8, (1,) * 8, 2)
    coords = jnp.zeros((8, 4), jnp.int32)
    with pytest.raises(ValueError, match="5 levels"):
        unet.build_pyramid(coords, jnp.int32(1), (8,) * 4)
    with pytest.raises(ValueError, match=r"level 0 .* 8 rows, .* 9"):
        unet.build_pyramid(coords, jnp.int32(1), (9,) * 5)
