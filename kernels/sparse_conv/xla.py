"""Sparse convolutions in plain jnp: gather, matrix product and scatter over exact pairs."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from fourdc_jax.kernels.kernel_map.maps import Downsample, KernelMap, PairLists
from jax import lax
from jaxtyping import Array, Float, Int32

# One matrix product over all offsets, missing neighbours included, is faster than exact pairs where
# a pair is little work (few input channels) or there are few pairs (few rows).
NARROW_CHANNELS = 8
FEW_ROWS = 256
GATHERED_ROWS = 4096  # rows of a matrix of gathered neighbours


def sparse_conv(
    features: Float[Array, "n c_in"], weights: Float[Array, "k c_in c_out"], kmap: KernelMap
) -> Float[Array, "n c_out"]:
    """Submanifold convolution; its input gradient is the same map read backwards."""
    return _submanifold(features, weights, kmap)


@jax.custom_vjp
def _submanifold(features, weights, kmap):
    weights = weights.astype(features.dtype)
    if _is_small(features):
        return _gathered(features, weights, kmap.rows, contract=1)
    return _wide(features, weights, kmap.pairs, _dot)


def _submanifold_fwd(features, weights, kmap):
    return _submanifold(features, weights, kmap), (features, weights, kmap)


def _submanifold_bwd(residuals, grad):
    features, weights, kmap = residuals
    cast = weights.astype(features.dtype)
    if _is_small(grad):
        grad_features = _gathered(grad, cast, kmap.rows[::-1], contract=2)
    else:
        grad_features = _wide(grad, cast, kmap.pairs.exchanged(), _dot_transposed)
    if _is_small(features):
        grad_weights = _gathered_weight_gradient(features, grad, kmap.rows)
    else:
        grad_weights = _wide_weight_gradient(features, grad, kmap.pairs)
    return grad_features, grad_weights.astype(weights.dtype), None


_submanifold.defvjp(_submanifold_fwd, _submanifold_bwd)


def _is_small(features: Float[Array, "n c"]) -> bool:
    return features.shape[1] <= NARROW_CHANNELS or features.shape[0] <= FEW_ROWS


def _wide(features, weights, pairs: PairLists, dot: Callable) -> Float[Array, "n c_out"]:
    """The centre is one dense product; each list serves an offset and the mirrored one."""
    n, last = features.shape[0], weights.shape[0] - 1

    def add_pairs(out, index, inputs, outputs):
        forward = dot(_gather(features, inputs), weights[index])
        backward = dot(_gather(features, outputs), weights[last - index])
        return _scatter_add(_scatter_add(out, outputs, forward), inputs, backward)

    out = _over_pairs(pairs, n, n, add_pairs, dot(features, weights[last // 2]))
    return out.astype(features.dtype)


def _wide_weight_gradient(features, grad, pairs: PairLists) -> Float[Array, "k c_in c_out"]:
    n, last = features.shape[0], 2 * pairs.counts.shape[0]

    def add_pairs(total, index, inputs, outputs):
        forward = _dot(_gather(features, inputs).T, _gather(grad, outputs))
        backward = _dot(_gather(features, outputs).T, _gather(grad, inputs))
        return total.at[index].add(forward).at[last - index].add(backward)

    total = jnp.zeros((last + 1, features.shape[1], grad.shape[1]), jnp.float32)
    total = total.at[last // 2].set(_dot(features.T, grad))
    return _over_pairs(pairs, n, n, add_pairs, total)


def _gathered(
    features, weights, rows: Int32[Array, "k n"], *, contract: int
) -> Float[Array, "n c_out"]:
    """Gather all offsets of a block of rows, then one product over offsets and channels.

    `contract` is the weights' axis that the channels meet: 1 for the convolution, 2 for its input
    gradient.
    """

    def convolve(block: Int32[Array, "b k"]) -> Float[Array, "b c_out"]:
        dimensions = (((1, 2), (0, contract)), ((), ()))
        neighbours = _gather_neighbours(features, block)
        return lax.dot_general(neighbours, weights, dimensions, preferred_element_type=jnp.float32)

    out = lax.map(convolve, _row_blocks(rows))  # [blocks, b, c_out]
    return out.reshape(-1, out.shape[-1])[: features.shape[0]].astype(features.dtype)


def _gathered_weight_gradient(features, grad, rows: Int32[Array, "k n"]):
    blocks = _row_blocks(rows)  # [blocks, b, k]
    padding = blocks.shape[0] * blocks.shape[1] - grad.shape[0]
    grads = jnp.pad(grad, ((0, padding), (0, 0))).reshape(*blocks.shape[:2], grad.shape[1])

    def add_block(total, block):
        neighbours = _gather_neighbours(features, block[0])
        return total + _dot(neighbours.reshape(len(neighbours), -1).T, block[1]), None

    shape = (rows.shape[0] * features.shape[1], grad.shape[1])
    total, _ = lax.scan(add_block, jnp.zeros(shape, jnp.float32), (blocks, grads))
    return total.reshape(rows.shape[0], features.shape[1], grad.shape[1])


def _row_blocks(rows: Int32[Array, "k n"]) -> Int32[Array, "blocks b k"]:
    size = max(1, min(GATHERED_ROWS, rows.shape[1]))
    blocks = max(1, -(-rows.shape[1] // size))
    padded = jnp.pad(rows, ((0, 0), (0, blocks * size - rows.shape[1])), constant_values=-1)
    return padded.T.reshape(blocks, size, rows.shape[0])


def _gather_neighbours(features, rows: Int32[Array, "b k"]) -> Float[Array, "b k c"]:
    return _gather(features, jnp.where(rows < 0, features.shape[0], rows))


def strided_conv(
    features: Float[Array, "n c_in"], weights: Float[Array, "k c_in c_out"], down: Downsample
) -> Float[Array, "capacity c_out"]:
    """Fine -> coarse: each fine row is in one pair."""
    return _directed(features, weights, down.pairs, down.children.shape[1])


def transposed_conv(
    features: Float[Array, "capacity c_in"], weights: Float[Array, "k c_in c_out"], down: Downsample
) -> Float[Array, "n c_out"]:
    """Coarse -> fine: the pairs of the strided convolution with input and output exchanged."""
    return _directed(features, weights, down.pairs.exchanged(), down.parents.shape[0])


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _directed(features, weights, pairs: PairLists, num_outputs: int):
    weights = weights.astype(features.dtype)
    out = jnp.zeros((num_outputs, weights.shape[2]), jnp.float32)
    return _add_products(out, features, weights, pairs, _dot).astype(features.dtype)


def _directed_fwd(features, weights, pairs, num_outputs):
    return _directed(features, weights, pairs, num_outputs), (features, weights, pairs)


def _directed_bwd(num_outputs, residuals, grad):
    features, weights, pairs = residuals
    cast = weights.astype(features.dtype)
    grad_features = jnp.zeros(features.shape, jnp.float32)
    grad_features = _add_products(grad_features, grad, cast, pairs.exchanged(), _dot_transposed)

    def add_pairs(total, index, inputs, outputs):
        return total.at[index].add(_dot(_gather(features, inputs).T, _gather(grad, outputs)))

    total = jnp.zeros(weights.shape, jnp.float32)
    grad_weights = _over_pairs(pairs, features.shape[0], num_outputs, add_pairs, total)
    return grad_features.astype(features.dtype), grad_weights.astype(weights.dtype), None


_directed.defvjp(_directed_fwd, _directed_bwd)


def _add_products(out, features, weights, pairs: PairLists, dot: Callable):
    """out[output] += features[input] times the list's weights, for every pair."""

    def add_pairs(out, index, inputs, outputs):
        return _scatter_add(out, outputs, dot(_gather(features, inputs), weights[index]))

    return _over_pairs(pairs, features.shape[0], out.shape[0], add_pairs, out)


def _over_pairs(pairs: PairLists, num_inputs: int, num_outputs: int, add_pairs, total):
    """Fold `add_pairs(total, list, inputs, outputs)` over all pairs, one tile a step.

    Positions of a tile beyond its list's end hold row numbers one past the arrays: they gather 0
    and scatter nowhere.
    """
    tile = pairs.tile

    def over_list(index, total):
        count = pairs.counts[index]

        def over_tile(number, total):
            first = number * tile
            inside = first + jnp.arange(tile, dtype=jnp.int32) < count
            inputs = lax.dynamic_slice(pairs.inputs, (index, first), (1, tile))[0]
            outputs = lax.dynamic_slice(pairs.outputs, (index, first), (1, tile))[0]
            inputs = jnp.where(inside, inputs, num_inputs)
            outputs = jnp.where(inside, outputs, num_outputs)
            return add_pairs(total, index, inputs, outputs)

        return lax.fori_loop(0, (count + tile - 1) // tile, over_tile, total)

    return lax.fori_loop(0, pairs.counts.shape[0], over_list, total)


def _gather(features: Float[Array, "n c"], rows: Int32[Array, "..."]) -> Float[Array, "... c"]:
    """Rows of the features; 0 for row numbers beyond them."""
    return features.at[rows].get(mode="fill", fill_value=0)


def _scatter_add(total, rows, update):
    return total.at[rows].add(update, mode="drop", unique_indices=True)


def _dot(a: Float[Array, "m c"], b: Float[Array, "c p"]) -> Float[Array, "m p"]:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _dot_transposed(a: Float[Array, "m c"], b: Float[Array, "p c"]) -> Float[Array, "m p"]:
    """a @ b.T without a transposed copy of b."""
    return lax.dot_general(a, b, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
