"""Sparse convolutions in plain jnp: gather, matrix product and scatter over exact pairs."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32

from kernels.kernel_map.maps import Downsample, KernelMap, PairLists

NARROW = 8  # input channels up to which all offsets are gathered into one matrix
NARROW_BLOCK = 4096  # rows of such a matrix


def sparse_conv(
    features: Float[Array, "n c_in"], weights: Float[Array, "k c_in c_out"], kmap: KernelMap
) -> Float[Array, "n c_out"]:
    """Submanifold convolution; its input gradient is the same map read backwards."""
    return _submanifold(features, weights, kmap)


@jax.custom_vjp
def _submanifold(features, weights, kmap):
    if features.shape[1] <= NARROW:
        return _narrow(features, weights, kmap.rows)
    return _wide(features, weights, kmap.pairs)


def _submanifold_fwd(features, weights, kmap):
    return _submanifold(features, weights, kmap), (features, weights, kmap)


def _submanifold_bwd(residuals, grad):
    features, weights, kmap = residuals
    grad_features = _submanifold(grad, weights[::-1].transpose(0, 2, 1), kmap)
    if features.shape[1] <= NARROW:
        grad_weights = _narrow_weight_gradient(features, grad, kmap.rows)
    else:
        grad_weights = _wide_weight_gradient(features, grad, kmap.pairs)
    return grad_features, grad_weights.astype(weights.dtype), None


_submanifold.defvjp(_submanifold_fwd, _submanifold_bwd)


def _wide(features, weights, pairs: PairLists):
    """The centre is one dense product; each list serves an offset and the mirrored one."""
    n, last = features.shape[0], weights.shape[0] - 1

    def add_pairs(out, index, inputs, outputs):
        forward = _dot(_gather(features, inputs), weights[index])
        backward = _dot(_gather(features, outputs), weights[last - index])
        return _scatter_add(_scatter_add(out, outputs, forward), inputs, backward)

    out = _over_pairs(pairs, n, n, add_pairs, _dot(features, weights[last // 2]))
    return out.astype(features.dtype)


def _wide_weight_gradient(features, grad, pairs: PairLists):
    n, last = features.shape[0], 2 * pairs.starts.shape[0]

    def add_pairs(total, index, inputs, outputs):
        forward = _dot(_gather(features, inputs).T, _gather(grad, outputs))
        backward = _dot(_gather(features, outputs).T, _gather(grad, inputs))
        return total.at[index].add(forward).at[last - index].add(backward)

    total = jnp.zeros((last + 1, features.shape[1], grad.shape[1]), jnp.float32)
    total = total.at[last // 2].set(_dot(features.T, grad))
    return _over_pairs(pairs, n, n, add_pairs, total)


def _narrow(features, weights, rows: Int32[Array, "k n"]):
    """A stem's few channels: gather all offsets of a block of rows, then one matrix product."""
    matrix = weights.reshape(-1, weights.shape[2])  # [k * c_in, c_out]
    out = lax.map(
        lambda block: _dot(_gather_neighbours(features, block), matrix), _row_blocks(rows)
    )
    out = out.reshape(-1, weights.shape[2])[: features.shape[0]]
    return out.astype(features.dtype)


def _narrow_weight_gradient(features, grad, rows: Int32[Array, "k n"]):
    blocks = _row_blocks(rows)  # [blocks, rows, k]
    padding = blocks.shape[0] * blocks.shape[1] - grad.shape[0]
    grads = jnp.pad(grad, ((0, padding), (0, 0))).reshape(*blocks.shape[:2], grad.shape[1])

    def add_block(total, block):
        block_rows, block_grad = block
        return total + _dot(_gather_neighbours(features, block_rows).T, block_grad), None

    shape = (rows.shape[0] * features.shape[1], grad.shape[1])
    total, _ = lax.scan(add_block, jnp.zeros(shape, jnp.float32), (blocks, grads))
    return total.reshape(rows.shape[0], features.shape[1], grad.shape[1])


def _row_blocks(rows: Int32[Array, "k n"]) -> Int32[Array, "blocks b k"]:
    size = max(1, min(NARROW_BLOCK, rows.shape[1]))
    blocks = max(1, -(-rows.shape[1] // size))
    padded = jnp.pad(rows, ((0, 0), (0, blocks * size - rows.shape[1])), constant_values=-1)
    return padded.T.reshape(blocks, size, rows.shape[0])


def _gather_neighbours(features, rows: Int32[Array, "b k"]) -> Float[Array, "b kc"]:
    present = jnp.where(rows < 0, features.shape[0], rows)
    return _gather(features, present).reshape(rows.shape[0], -1)


def strided_conv(features, weights, down: Downsample):
    """Fine -> coarse: each fine row is in one pair."""
    return _directed(features, weights, down.pairs, down.children.shape[1])


def transposed_conv(features, weights, down: Downsample):
    """Coarse -> fine: the pairs of the strided convolution with input and output exchanged."""
    return _directed(features, weights, down.pairs.exchanged(), down.parents.shape[0])


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
        features.shape[0], grad, weights.transpose(0, 2, 1), pairs.exchanged()
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

    Positions of a tile beyond its list's end hold row numbers one past the arrays: they gather 0
    and scatter nowhere.
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


def _gather(features: Float[Array, "n c"], rows: Int32[Array, "..."]) -> Float[Array, "... c"]:
    """Rows of the features; 0 for row numbers beyond them."""
    return features.at[rows].get(mode="fill", fill_value=0)


def _scatter_add(total, rows, update):
    return total.at[rows].add(update, mode="drop", unique_indices=True)


def _dot(a: Float[Array, "m c"], b: Float[Array, "c p"]) -> Float[Array, "m p"]:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)
