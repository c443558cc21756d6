"""The weight gradient of a sparse convolution of float32 features on the CPU.

A unit of work is a range of output rows and a range of kernel offsets. For each offset it lists the
pairs of rows and adds their outer products, both rows read where they are. Ranges of rows have
their own sums, which are added in order: nothing depends on the number of threads.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from fourdc_jax.kernels.cpu_call import jit, launch, shared
from fourdc_jax.kernels.sparse_conv.cpu_micro import Machine, outer_products, this_machine
from jaxtyping import Array, Float32, Int32

PART_ROWS, MOST_PARTS = 4096, 16  # ranges of output rows with sums of their own
MOST_PART_BYTES = 64 * 1024 * 1024  # of all their sums together
UNITS = 32
SWEEP = 1024  # rows that all offsets of a unit go over, before the next
PAIRS = 64  # whose rows stay in the first-level cache


def weight_gradient(
    features: Float32[Array, "n c_in"],
    grad: Float32[Array, "m c_out"],
    rows: Int32[Array, "k m"],
    num_rows: Int32[Array, ""],
    machine: Machine | None = None,
) -> Float32[Array, "k c_in c_out"]:
    """out[k] = sum over u of the outer product of features[rows[k, u]] and grad[u].

    Args:
      rows: input row that each offset of each output row reads, -1 where there is none.
      num_rows: output rows that hold data.
      machine: vectors to use; those of this machine if it is not given.
    """
    machine = this_machine() if machine is None else machine
    volume, n = rows.shape
    height, columns = features.shape[1], grad.shape[1]
    padded = -(-columns // machine.width) * machine.width
    part_bytes = 4 * volume * height * padded
    parts = max(1, min(MOST_PARTS, n // PART_ROWS, MOST_PART_BYTES // max(part_bytes, 1)))
    part_rows = -(-n // parts)
    own = parts > 1 or padded != columns
    sums = (parts, volume, height, padded) if own else (0, 0, 0, 0)
    out, _ = launch(
        _kernel(machine),
        (features, grad, rows, num_rows),
        [
            jax.ShapeDtypeStruct((volume, height, columns), jnp.float32),
            jax.ShapeDtypeStruct(sums, jnp.float32),
        ],
        variant=f"{machine.width} {machine.registers}",
        part_rows=part_rows,
        groups=min(volume, -(-UNITS // parts)),
    )
    return out


@cache
def _kernel(machine: Machine):
    add_pairs = _add_pairs(machine)

    @jit
    def weight_gradient_kernel(call, features, grad, rows, num_rows, out, sums, part_rows, groups):
        if sums.shape[0] == 0:
            whole = out.reshape((1, *out.shape))
            add_pairs(call, groups, features, grad, rows, num_rows[()], whole, part_rows, groups)
        else:
            units = groups * sums.shape[0]
            add_pairs(call, units, features, grad, rows, num_rows[()], sums, part_rows, groups)
            _add_parts(call, out.shape[0], sums, out)

    return weight_gradient_kernel


@cache
def _add_pairs(machine: Machine):
    width = machine.width
    multiply = _panel(machine)
    most = machine.most_vectors

    @shared
    def add_pairs(unit, features, grad, rows, num_rows, sums, part_rows, groups):
        part, group = unit // groups, unit % groups
        volume = rows.shape[0]
        offset_from, offset_to = group * volume // groups, (group + 1) * volume // groups
        sums[part, offset_from:offset_to] = 0
        height, columns = features.shape[1], grad.shape[1]
        vectors = sums.shape[3] // width
        panels = (vectors + most - 1) // most
        # A row of whole vectors, to be read instead of the last one: it ends with the array.
        last_row = np.zeros(width * vectors, np.float32)
        if grad.shape[0] > 0:
            last_row[:columns] = grad[-1]
        left, right = np.empty(SWEEP, np.int64), np.empty(SWEEP, np.int64)
        row_to = min((part + 1) * part_rows, rows.shape[1], num_rows)
        for sweep in range(part * part_rows, row_to, SWEEP):
            sweep_to = min(sweep + SWEEP, row_to)
            for offset in range(offset_from, offset_to):
                count = 0
                for row in range(sweep, sweep_to):
                    source = np.int64(rows[offset, row])
                    left[count] = features.ctypes.data + source * 4 * height
                    right[count] = grad.ctypes.data + row * 4 * columns
                    count += source >= 0
                if sweep_to == grad.shape[0] and count and rows[offset, sweep_to - 1] >= 0:
                    right[count - 1] = last_row.ctypes.data
                at = sums[part, offset].ctypes.data
                for pair in range(0, count, PAIRS):
                    pairs = min(PAIRS, count - pair)
                    done = 0
                    for panel in range(panels):
                        now = (vectors - done + panels - panel - 1) // (panels - panel)
                        multiply(
                            now, left.ctypes.data + 8 * pair, right.ctypes.data + 8 * pair, pairs,
                            height, 4 * width * done, at + 4 * width * done, 4 * width * vectors,
                        )  # fmt: skip
                        done += now

    return add_pairs


@cache
def _panel(machine: Machine):
    """The outer product for a panel of so many vectors."""
    one, two, three = (outer_products(machine, vectors) for vectors in (1, 2, 3))
    four = outer_products(machine, machine.most_vectors)

    @jit
    def multiply(vectors, a, b, c, d, e, f, g):
        if vectors == 1:
            one(a, b, c, d, e, f, g)
        elif vectors == 2:
            two(a, b, c, d, e, f, g)
        elif vectors == 3:
            three(a, b, c, d, e, f, g)
        else:
            four(a, b, c, d, e, f, g)

    return multiply


@shared
def _add_parts(offset, sums, out):
    """The sums of all ranges of rows, in their order."""
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            out[offset, row, column] = sums[0, offset, row, column]
        for part in range(1, sums.shape[0]):
            for column in range(out.shape[2]):
                out[offset, row, column] += sums[part, offset, row, column]
