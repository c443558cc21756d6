"""Sparse convolutions in plain jnp: gather, matrix product and scatter over exact pairs."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32

from kernels.kernel_map.maps import Downsample, KernelMap, PairLists

NARROW = 8  # input channels up to which all offsets are gathered into one matrix


def sparse_conv(
    features: Float[Array, "n c_in"], weights: Float[Array, "k c_in c_out"], kmap: KernelMap
) -> Float[Array, "n c_out"]:
    """Submanifold convolution; its input gradient is the same map read backwards."""
    return _submanifold(features, weights, kmap)


@jax.custom_vjp
def _submanifold(features, weights, kmap):
    centre = weights.shape[0] // 2
    out = _dot(features, weights[centre])
    lists = jnp.arange(centre, dtype=jnp.int32)
    mirrored = weights.shape[0] - 1 - lists

    def add_pairs(out, index, inputs, outputs):
        forward = _dot(_gather(features, inputs), weights[lists[index]])
        backward = _dot(_gather(features, outputs), weights[mirrored[index]])
        return _scatter_add(_scatter_add(out, outputs, forward), inputs, backward)

    out = _over_pairs(kmap.pairs, features.shape[0], features.shape[0], add_pairs, out)
    return out.astype(features.dtype)


def _submanifold_fwd(features, weights, kmap):
    return _submanifold(features, weights, kmap), (features, weights, kmap)


def _submanifold_bwd(residuals, grad):
    features, weights, kmap = residuals
    grad_features = _submanifold(grad, weights[::-1].transpose(0, 2, 1), kmap)
    centre = weights.shape[0] // 2

    def add_pairs(total, index, inputs, outputs):
        x_in, x_out = _gather(features, inputs), _gather(features, outputs)
        g_in, g_out = _gather(grad, inputs), _gather(grad, outputs)
        total = total.at[index].add(_dot(x_in.T, g_out))
        return total.at[weights.shape[0] - 1 - index].add(_dot(x_out.T, g_in))

    total = jnp.zeros(weights.shape, jnp.float32).at[centre].set(_dot(features.T, grad))
    n = features.shape[0]
    grad_weights = _over_pairs(kmap.pairs, n, n, add_pairs, total)
    return grad_features, grad_weights.astype(weights.dtype), None


_submanifold.defvjp(_submanifold_fwd, _submanifold_bwd)


def strided_conv(features, weights, down: Downsample):
    """Fine -> coarse: each fine row is in one pair."""
    return _directed(features, weights, down.pairs, down.children.shape[1])


def transposed_conv(features, weights, down: Downsample):
    """Coarse -> fine: the pairs of the strided convolution with input and output exchanged."""
    return _directed(features, weights, exchange(down.pairs), down.parents.shape[0])


def exchange(pairs: PairLists) -> PairLists:
    """The same pairs with input and output exchanged."""
    return PairLists(pairs.outputs, pairs.inputs, pairs.starts, pairs.tile)


def _directed(features, weights, pairs, num_outputs):
    return _directed_vjp(num_outputs, features, weights, pairs)


def _directed_forward(num_outputs, features, weights, pairs):
    def add_pairs(out, index, inputs, outputs):
        return _scatter_add(out, outputs, _dot(_gather(features, inputs), weights[index]))

    out = jnp.zeros((num_outputs, weights.shape[2]), jnp.float32)
    out = _over_pairs(pairs, features.shape[0], num_outputs, add_pairs, out)
    return out.astype(features.dtype)


def _directed_fwd(num_outputs, features, weights, pairs):
    return _directed_forward(num_outputs, features, weights, pairs), (features, weights, pairs)


def _directed_bwd(num_outputs, residuals, grad):
    features, weights, pairs = residuals
    grad_features = _directed_forward(
        features.shape[0], grad, weights.transpose(0, 2, 1), exchange(pairs)
    )

    def add_pairs(total, index, inputs, outputs):
        return total.at[index].add(_dot(_gather(features, inputs).T, _gather(grad, outputs)))

    total = jnp.zeros(weights.shape, jnp.float32)
    grad_weights = _over_pairs(pairs, features.shape[0], num_outputs, add_pairs, total)
    return grad_features, grad_weights.astype(weights.dtype), None


_directed_vjp = jax.custom_vjp(_directed_forward, nondiff_argnums=(0,))
_directed_vjp.defvjp(_directed_fwd, _directed_bwd)


def _over_pairs(pairs: PairLists, num_inputs: int, num_outputs: int, add_pairs, total):
    """Fold `add_pairs(total, list, inputs, outputs)` over all pairs, one tile a step.

    Positions of a tile beyond its list's end hold row numbers one past the arrays: they gather 0 and
    scatter nowhere.
    """
    num_lists, num_blocks = pairs.starts.shape[0], pairs.starts.shape[1] - 1
    tile = pairs.tile
    if num_lists == 0:
        return total

    def over_list(step, total):
        block, index = step // num_lists, step % num_lists
        start, end = pairs.starts[index, block], pairs.starts[index, block + 1]

        def over_tile(number, total):
            first = start + number * tile
            inside = first + jnp.arange(tile, dtype=jnp.int32) < end
            inputs = lax.dynamic_slice(pairs.inputs, (index, first), (1, tile))[0]
            outputs = lax.dynamic_slice(pairs.outputs, (index, first), (1, tile))[0]
            inputs = jnp.where(inside, inputs, num_inputs)
            outputs = jnp.where(inside, outputs, num_outputs)
            return add_pairs(total, index, inputs, outputs)

        return lax.fori_loop(0, (end - start + tile - 1) // tile, over_tile, total)

    return lax.fori_loop(0, num_lists * num_blocks, over_list, total)


def _gather(features: Float[Array, "n c"], rows: Int32[Array, "p"]) -> Float[Array, "p c"]:
    return features.at[rows].get(mode="fill", fill_value=0)


def _scatter_add(total, rows, update):
    return total.at[rows].add(update, mode="drop", unique_indices=True)


def _dot(a: Float[Array, "m c"], b: Float[Array, "c p"]) -> Float[Array, "m p"]:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)
