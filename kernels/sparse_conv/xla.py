"""Sparse convolution in plain jnp: gather, matrix product and scatter over exact pairs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from fourdc_jax.kernels.kernel_map.maps import ConvMap, PairLists
from jax import lax
from jaxtyping import Array, Float, Int32

# One matrix product over all offsets, missing neighbours included, is faster than exact pairs where
# a pair is little work (few input channels) or there are few pairs (few rows).
NARROW_CHANNELS = 8
FEW_ROWS = 256
GATHERED_ROWS = 4096  # rows of a matrix of gathered neighbours


@jax.custom_vjp
def convolve(
    features: Float[Array, "n c_in"], weights: Float[Array, "k c_in c_out"], conv_map: ConvMap
) -> Float[Array, "m c_out"]:
    """The convolution of a map; its input gradient is the same map read backwards."""
    weights = weights.astype(features.dtype)
    if _is_gathered(features, conv_map):
        return _gathered(features, weights, conv_map.rows, contract=1)
    shape = (conv_map.shape.outputs, weights.shape[2])
    return _scattered(features, weights, conv_map.pairs, shape, _dot, conv_map.mirrored)


def _forward(features, weights, conv_map):
    return convolve(features, weights, conv_map), (features, weights, conv_map)


def _backward(residuals, grad):
    features, weights, conv_map = residuals
    cast = weights.astype(features.dtype)
    if _is_gathered(grad, conv_map):
        grad_features = _gathered(grad, cast, conv_map.rows[::-1], contract=2)
    else:
        pairs, mirrored = conv_map.pairs.exchanged(), conv_map.mirrored
        grad_features = _scattered(grad, cast, pairs, features.shape, _dot_transposed, mirrored)
    if _is_gathered(features, conv_map):
        grad_weights = _gathered_weight_gradient(features, grad, conv_map.rows)
    else:
        grad_weights = _scattered_weight_gradient(features, grad, conv_map)
    return grad_features, grad_weights.astype(weights.dtype), None


convolve.defvjp(_forward, _backward)


def _is_gathered(features: Float[Array, "n c"], conv_map: ConvMap) -> bool:
    few = features.shape[1] <= NARROW_CHANNELS or features.shape[0] <= FEW_ROWS
    return few and conv_map.rows is not None


def _scattered(
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k a b"],
    pairs: PairLists,
    shape: tuple[int, int],
    dot: Callable,
    mirrored: bool,
) -> Float[Array, "m c_out"]:
    """out[output] += features[input] times the list's weights, for every pair.

    Of a submanifold map (`mirrored`) the centre is one dense product, and each list serves an
    offset and the mirrored one.
    """
    last = weights.shape[0] - 1

    def add_pairs(out, index, inputs, outputs):
        forward = dot(_gather(features, inputs), weights[index])
        if not mirrored:
            return _scatter_add(out, outputs, forward)
        backward = dot(_gather(features, outputs), weights[last - index])
        return _scatter_add(_scatter_add(out, outputs, forward), inputs, backward)

    out = dot(features, weights[last // 2]) if mirrored else jnp.zeros(shape, jnp.float32)
    out = _over_pairs(pairs, features.shape[0], shape[0], add_pairs, out)
    return out.astype(features.dtype)


def _scattered_weight_gradient(features, grad, conv_map: ConvMap) -> Float[Array, "k c_in c_out"]:
    volume, mirrored = conv_map.shape.volume, conv_map.mirrored

    def add_pairs(total, index, inputs, outputs):
        forward = _dot(_gather(features, inputs).T, _gather(grad, outputs))
        if not mirrored:
            return total.at[index].add(forward)
        backward = _dot(_gather(features, outputs).T, _gather(grad, inputs))
        return total.at[index].add(forward).at[volume - 1 - index].add(backward)

    total = jnp.zeros((volume, features.shape[1], grad.shape[1]), jnp.float32)
    if mirrored:
        total = total.at[volume // 2].set(_dot(features.T, grad))
    return _over_pairs(conv_map.pairs, features.shape[0], grad.shape[0], add_pairs, total)


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


def _over_pairs(pairs: PairLists, num_inputs: int, num_outputs: int, add_pairs, total):
    """Fold `add_pairs(total, list, inputs, outputs)` over all pairs, one tile a step.

    Positions of a tile beyond its list's end hold row numbers one past the arrays: they gather 0
    and scatter nowhere.
    """
    tile = pairs.tile
    if pairs.counts.shape[0] == 0:  # a kernel of size 1 has its centre only
        return total

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
    if features.shape[0] == 0:  # of which JAX gathers nothing
        return jnp.zeros((*rows.shape, features.shape[1]), features.dtype)
    return features.at[rows].get(mode="fill", fill_value=0)


def _scatter_add(total, rows, update):
    return total.at[rows].add(update, mode="drop", unique_indices=True)


def _dot(a: Float[Array, "m c"], b: Float[Array, "c p"]) -> Float[Array, "m p"]:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _dot_transposed(a: Float[Array, "m c"], b: Float[Array, "p c"]) -> Float[Array, "m p"]:
    """a @ b.T without a transposed copy of b."""
    return lax.dot_general(a, b, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
