"""The gradient of gathered rows in numba: every row adds up its own readers, in order."""

import jax
import jax.numpy as jnp
import numpy as np
from fourdc_jax.kernels.cpu_call import jit, launch, shared
from fourdc_jax.kernels.gather_rows import xla
from jaxtyping import Array, Float, Float32, Int32

ROWS = 256  # of a unit of work


@jax.custom_vjp
def gather_rows(
    features: Float[Array, "n c"], rows: Int32[Array, "*readers"]
) -> Float[Array, "*readers c"]:
    """The features of the rows, read by XLA, which fuses that with what uses them."""
    return xla.gather_rows(features, rows)


def _forward(features, rows):
    return xla.gather_rows(features, rows), (features, rows)  # of the features only the shape


def _backward(residuals, grad):
    features, rows = residuals
    grad = grad.reshape(-1, features.shape[1]).astype(jnp.float32)
    total = sum_readers(grad, rows.reshape(-1), features.shape[0])
    return total.astype(features.dtype), None


gather_rows.defvjp(_forward, _backward)


def sum_readers(
    grad: Float32[Array, "e c"], rows: Int32[Array, "e"], num_rows: int
) -> Float32[Array, "n c"]:
    """Sum of grad over the readers of each row: readers sorted by counting, and sums by row."""
    out = jax.ShapeDtypeStruct((num_rows, grad.shape[1]), jnp.float32)
    return launch(_sum_readers, (grad, rows), (out,))[0]


@jit
def _sum_readers(call, grad, rows, out):
    ends = np.zeros(len(out) + 1, np.int64)
    for row in rows:
        if row >= 0:
            ends[row + 1] += 1
    for row in range(len(out)):
        ends[row + 1] += ends[row]
    order = np.empty(len(rows), np.int64)
    for reader in range(len(rows)):
        row = rows[reader]
        if row >= 0:
            order[ends[row]] = reader
            ends[row] += 1  # from where the row's readers begin to where they end
    _sum_rows(call, (len(out) + ROWS - 1) // ROWS, grad, order, ends, out)


@shared
def _sum_rows(unit, grad, order, ends, out):
    begin, end = unit * ROWS, min((unit + 1) * ROWS, len(out))
    out[begin:end] = 0
    for row in range(begin, end):
        for place in range(ends[row - 1] if row > 0 else 0, ends[row]):
            reader = order[place]
            for column in range(out.shape[1]):
                out[row, column] += grad[reader, column]
