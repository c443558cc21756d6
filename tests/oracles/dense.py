"""Sparse convolutions the slow, sure way: float64 dense convolutions on a grid."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def random_coords(rng, n, dimension, batch=2, extent=4, tensor_stride=1):
    """n unique int32 coordinates around the origin, in random order."""
    cells = batch * extent**dimension
    chosen = rng.choice(cells, size=n, replace=False)
    columns = np.unravel_index(chosen, (batch,) + (extent,) * dimension)
    coords = np.stack(columns, axis=1).astype(np.int32)
    coords[:, 1:] = (coords[:, 1:] - extent // 2) * np.asarray(tensor_stride, np.int32)
    return coords


def pad_rows(array, capacity, value):
    """Rows appended up to `capacity`, all holding `value`."""
    padding = np.full((capacity - len(array), *array.shape[1:]), value, array.dtype)
    return np.concatenate([array, padding])


class Grid:
    """A dense float64 grid around some coordinates, in cells of `spacing`."""

    def __init__(self, coords, spacing, align):
        """`align`: the origin and the shape are multiples of it (in cells)."""
        self.spacing = np.asarray(spacing)
        cells = np.floor_divide(coords[:, 1:], self.spacing)
        align = np.asarray(align)
        self.origin = np.floor_divide(cells.min(0), align) * align
        top = np.floor_divide(cells.max(0), align) * align + align
        self.shape = (int(coords[:, 0].max()) + 1, *(top - self.origin))

    def index(self, coords):
        cells = np.floor_divide(coords[:, 1:], self.spacing) - self.origin
        return (coords[:, 0], *cells.T)

    def scatter(self, coords, features):
        dense = jnp.zeros((*self.shape, features.shape[1]), features.dtype)
        return dense.at[self.index(coords)].set(features)


def _dense_conv(x, kernel, dilation, strides, padding):
    spatial = "XYZT"[: x.ndim - 2]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    return lax.conv_general_dilated(
        x, kernel, strides, padding, rhs_dilation=dilation, dimension_numbers=numbers,
        precision=lax.Precision.HIGHEST,
    )  # fmt: skip


def submanifold(coords, features, weights, offsets, tensor_stride):
    """Dense cross-correlation read off at the existing coordinates."""
    dimension = coords.shape[1] - 1
    grid = Grid(coords, tensor_stride, (1,) * dimension)
    reach = np.abs(offsets).max(0)
    kernel = jnp.zeros((*(2 * reach + 1), *weights.shape[1:]), weights.dtype)
    kernel = kernel.at[tuple((offsets + reach).T)].set(weights)
    padding = [(r, r) for r in reach]
    dense = grid.scatter(coords, features)
    out = _dense_conv(dense, kernel, (1,) * dimension, (1,) * dimension, padding)
    return out[grid.index(coords)]


def _strided_grid(coords, stride, tensor_stride):
    return Grid(coords, tensor_stride, stride)


def _strided_on_grid(dense, weights, stride):
    dimension = len(stride)
    kernel = weights.reshape(*stride[::-1], *weights.shape[1:])  # x fastest: axes reversed
    kernel = kernel.transpose(*reversed(range(dimension)), dimension, dimension + 1)
    return _dense_conv(dense, kernel, (1,) * dimension, stride, [(0, 0)] * dimension)


def strided(coords, features, weights, stride, tensor_stride, coarse_coords):
    """Dense strided convolution with kernel = stride, read off at the coarse coordinates."""
    grid = _strided_grid(coords, stride, tensor_stride)
    out = _strided_on_grid(grid.scatter(coords, features), weights, stride)
    spacing = np.asarray(tensor_stride) * np.asarray(stride)
    cells = np.floor_divide(coarse_coords[:, 1:], spacing) - grid.origin // np.asarray(stride)
    return out[(coarse_coords[:, 0], *cells.T)]


def transposed(coarse_coords, features, weights, stride, tensor_stride, coords):
    """The linear transpose of the dense strided convolution, read off at the fine coordinates."""
    grid = _strided_grid(coords, stride, tensor_stride)
    spacing = np.asarray(tensor_stride) * np.asarray(stride)
    cells = np.floor_divide(coarse_coords[:, 1:], spacing) - grid.origin // np.asarray(stride)
    coarse_shape = (grid.shape[0], *(np.array(grid.shape[1:]) // np.asarray(stride)))
    dense = jnp.zeros((*coarse_shape, features.shape[1]), features.dtype)
    dense = dense.at[(coarse_coords[:, 0], *cells.T)].set(features)
    fine = jax.ShapeDtypeStruct((*grid.shape, weights.shape[2]), features.dtype)
    transpose = jax.linear_transpose(
        lambda x: _strided_on_grid(x, weights.transpose(0, 2, 1), stride), fine
    )
    return transpose(dense)[0][grid.index(coords)]


def value_and_gradients(function, features, weights, cotangent):
    """float64 (output, feature gradient, weight gradient) of `function(features, weights)`."""
    with jax.enable_x64(True):
        arrays = [jnp.asarray(a, jnp.float64) for a in (features, weights)]

        @jax.jit
        def run(features, weights, cotangent):
            out, pullback = jax.vjp(function, features, weights)
            return (out, *pullback(cotangent))

        return tuple(map(np.asarray, run(*arrays, jnp.asarray(cotangent, jnp.float64))))
