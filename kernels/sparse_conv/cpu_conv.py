"""Sparse convolution of float32 features on the CPU, output-stationary.

A unit of work is a block of output rows and a group of columns. The block's sums stay in the cache
while the kernel offsets go by: of each offset, the rows that have a neighbour are listed, and the
neighbours, read where they are, are multiplied by the offset's weights. Nothing is gathered into
memory or scattered. A sum runs over offsets and channels in one order, whatever the blocks.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from fourdc_jax.kernels.cpu_call import jit, launch, shared
from fourdc_jax.kernels.sparse_conv.cpu_micro import Machine, row_products, this_machine
from fourdc_jax.kernels.sparse_conv.cpu_weights import pack_offset, pack_transposed
from fourdc_jax.kernels.sparse_conv.moments import BlockMoments
from jaxtyping import Array, Float32, Int32

BLOCK_BYTES = 256 * 1024  # of a block's sums: they share a second-level cache with the weights
SMALLEST_BLOCK, LARGEST_BLOCK = 64, 1024  # rows
DEPTH = 128  # channels of features multiplied at a time: their weights fit the first-level cache
ENOUGH_UNITS = 16  # for the threads; columns are split where there are fewer blocks
SMALLEST_GROUP = 64  # columns
ROOM = 16  # entries of a list beyond its end that the last block of rows may use


def convolve(
    features: Float32[Array, "n c_in"],
    weights: Float32[Array, "k c_in c_out"] | Float32[Array, "k c_out c_in"],
    rows: Int32[Array, "k m"],
    num_rows: Int32[Array, ""],
    *,
    bias: Float32[Array, "c_out"] | None = None,
    transposed: bool = False,
    mirrored: bool = False,
    with_moments: bool = False,
    machine: Machine | None = None,
) -> tuple[Float32[Array, "m c_out"], BlockMoments | None]:
    """out[u] = sum over k of features[rows[k, u]] @ weights[k] + bias on rows below num_rows.

    Args:
      rows: input row that each offset of each output row reads, -1 where there is none.
      num_rows: output rows that hold data; the others become 0.
      transposed: weights are [k, c_out, c_in], as they are for an input gradient.
      mirrored: offset k reads rows[K - 1 - k].
      with_moments: return the moments of blocks of rows, too.
      machine: vectors to use; those of this machine if it is not given.
    """
    machine = this_machine() if machine is None else machine
    volume, depth, columns = weights.shape
    if transposed:
        depth, columns = columns, depth
    n = rows.shape[1]
    vectors = -(-columns // machine.width)
    padded = vectors * machine.width
    packed = (volume, depth, padded) if transposed or padded != columns else (0, 0, 0)
    block_rows, groups = _blocks(n, columns)
    blocks = -(-n // block_rows)
    moments = (blocks, columns) if with_moments else (0, columns)
    if bias is None:
        bias = jnp.zeros((0,), jnp.float32)
    shapes = ((n, columns), packed, moments, moments)
    out, _, means, squares = launch(
        _kernel(machine),
        (features, weights, rows, num_rows, bias),
        [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes],
        variant=f"{machine.width} {machine.registers}",
        transposed=transposed,
        mirrored=mirrored,
        block_rows=block_rows,
        groups=groups,
    )
    if not with_moments:
        return out, None
    first = jnp.arange(blocks, dtype=jnp.int32)[:, None] * block_rows
    counts = jnp.clip(jnp.minimum(num_rows, n) - first, 0, block_rows)
    return out, BlockMoments(counts.astype(jnp.float32), means, squares)


def _blocks(n: int, columns: int) -> tuple[int, int]:
    """Rows of a block, and groups of columns; neither depends on the machine."""
    rows = max(SMALLEST_BLOCK, min(LARGEST_BLOCK, BLOCK_BYTES // (4 * columns)))
    rows = 1 << (rows.bit_length() - 1)
    while rows > SMALLEST_BLOCK and rows * ENOUGH_UNITS > n:
        rows //= 2
    blocks = -(-n // rows) if n else 1
    groups = min(-(-columns // SMALLEST_GROUP), -(-ENOUGH_UNITS // blocks))
    return rows, groups


@cache
def _kernel(machine: Machine):
    block = _block(machine)
    width = machine.width

    @jit
    def convolve_kernel(
        call, features, weights, rows, num_rows, bias, out, packed, means, squares,
        transposed, mirrored, block_rows, groups,
    ):  # fmt: skip
        volume = weights.shape[0]
        used = weights
        if packed.shape[0] > 0:
            used = packed
            if transposed:
                pack_transposed(call, volume, weights, packed)
            else:
                pack_offset(call, volume, weights, packed)
        vectors = (out.shape[1] + width - 1) // width
        units = (out.shape[0] + block_rows - 1) // block_rows * groups
        block(
            call, units, features, used, rows, num_rows[()], bias, out, means, squares,
            mirrored, block_rows, groups, vectors,
        )  # fmt: skip

    return convolve_kernel


@cache
def _block(machine: Machine):
    width, most = machine.width, machine.most_vectors
    multiply = _panel(machine)

    @shared
    def block(
        unit, features, weights, rows, num_rows, bias, out, means, squares,
        mirrored, block_rows, groups, all_vectors,
    ):  # fmt: skip
        first = unit // groups * block_rows
        last = min(first + block_rows, rows.shape[1])
        valid = max(0, min(last, num_rows) - first)
        group = unit % groups
        vector_from = group * all_vectors // groups
        vectors = (group + 1) * all_vectors // groups - vector_from
        column_from = vector_from * width
        volume, depth = weights.shape[0], features.shape[1]
        row_bytes, sum_bytes, step = 4 * depth, 4 * width * vectors, 4 * weights.shape[2]

        sums = np.zeros((valid + 1, width * vectors), np.float32)
        spare = sums.ctypes.data + valid * sum_bytes
        source_list = np.empty(valid + ROOM, np.int64)
        sum_list = np.empty(valid + ROOM, np.int64)
        for offset in range(volume):
            table = rows[volume - 1 - offset if mirrored else offset]
            count = 0
            for row in range(valid):
                source = np.int64(table[first + row])
                source_list[count] = features.ctypes.data + source * row_bytes
                sum_list[count] = sums.ctypes.data + row * sum_bytes
                count += source >= 0
            if count == 0:
                continue
            panels = (vectors + most - 1) // most
            for channel in range(0, depth, DEPTH):
                channels = min(DEPTH, depth - channel)
                weights_at = weights.ctypes.data + (offset * depth + channel) * step
                done = 0
                for panel in range(panels):
                    now = (vectors - done + panels - panel - 1) // (panels - panel)
                    multiply(
                        now, source_list.ctypes.data, sum_list.ctypes.data, count, spare,
                        4 * channel, 4 * width * done,
                        weights_at + 4 * (column_from + width * done), step, channels,
                        4 * channels if panel == 0 else 0,
                    )  # fmt: skip
                    done += now
        columns = min(column_from + width * vectors, out.shape[1]) - column_from
        _finish(sums, valid, first, last, column_from, columns, bias, out)
        if means.shape[0] > 0:
            number = unit // groups
            _add_moments(sums, valid, number, column_from, columns, bias, means, squares)

    return block


@cache
def _panel(machine: Machine):
    """The row product for a panel of so many vectors."""
    one, two, three = (row_products(machine, vectors) for vectors in (1, 2, 3))
    four = row_products(machine, machine.most_vectors)

    @jit
    def multiply(vectors, a, b, c, d, e, f, g, h, i, j):
        if vectors == 1:
            one(a, b, c, d, e, f, g, h, i, j)
        elif vectors == 2:
            two(a, b, c, d, e, f, g, h, i, j)
        elif vectors == 3:
            three(a, b, c, d, e, f, g, h, i, j)
        else:
            four(a, b, c, d, e, f, g, h, i, j)

    return multiply


@jit
def _finish(sums, valid, first, last, column_from, columns, bias, out):
    """The block's sums and the bias to the output, and 0 to its padded rows."""
    for row in range(valid):
        for column in range(columns):
            out[first + row, column_from + column] = sums[row, column]
    if bias.shape[0] > 0:
        for row in range(valid):
            for column in range(columns):
                out[first + row, column_from + column] += bias[column_from + column]
    for row in range(first + valid, last):
        for column in range(columns):
            out[row, column_from + column] = 0


@jit
def _add_moments(sums, valid, number, column_from, columns, bias, means, squares):
    """Mean and sum of squared deviations of the block's valid rows, two passes over the cache."""
    mean, square = np.zeros(columns, np.float32), np.zeros(columns, np.float32)
    for row in range(valid):
        for column in range(columns):
            mean[column] += sums[row, column]
    scale = np.float32(1) / np.float32(max(valid, 1))
    for column in range(columns):
        mean[column] *= scale
    for row in range(valid):
        for column in range(columns):
            square[column] += (sums[row, column] - mean[column]) ** 2
    for column in range(columns):
        shift = bias[column_from + column] if bias.shape[0] > 0 else np.float32(0)
        means[number, column_from + column] = mean[column] + shift
        squares[number, column_from + column] = square[column]
