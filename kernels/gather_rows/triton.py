"""The gradient of gathered rows without atomics: every row adds up its own readers, in order."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import triton.language as tl
from fourdc_jax.kernels.gather_rows import xla
from fourdc_jax.kernels.triton_call import jit, launch
from jax import lax
from jaxtyping import Array, Float, Int32

ROWS = 32  # of a program
COLUMNS = 128  # of a program, at most


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def gather_rows(
    features: Float[Array, "n c"],
    rows: Int32[Array, "*readers"],
    implementation: Literal["triton", "interpret"],
) -> Float[Array, "*readers c"]:
    """The features of the rows, read by XLA."""
    return xla.gather_rows(features, rows)


def _forward(features, rows, implementation):
    return xla.gather_rows(features, rows), (features, rows)  # of the features only the shape


def _backward(implementation, residuals, grad):
    features, rows = residuals
    grad = grad.reshape(-1, features.shape[1])
    return sum_readers(grad, rows.reshape(-1), features.shape[0], implementation), None


gather_rows.defvjp(_forward, _backward)


def sum_readers(
    grad: Float[Array, "e c"],
    rows: Int32[Array, "e"],
    num_rows: int,
    implementation: Literal["triton", "interpret"],
) -> Float[Array, "n c"]:
    """Sum of grad over the readers of each row: a radix sort of the readers, and one launch."""
    readers, channels = grad.shape
    if readers == 0:
        return jnp.zeros((num_rows, channels), grad.dtype)
    numbers = jnp.arange(readers, dtype=jnp.int32)
    # Negative rows, which nobody asks for, are the largest of all unsigned numbers.
    keys = lax.bitcast_convert_type(rows, jnp.uint32)
    keys, order = lax.sort((keys, numbers), num_keys=1, is_stable=True)
    columns = min(COLUMNS, 1 << (channels - 1).bit_length())
    (out,) = launch(
        _sum_readers,
        (grad, keys, order),
        (jax.ShapeDtypeStruct((num_rows, channels), grad.dtype),),
        grid=(-(-num_rows // ROWS), -(-channels // columns)),
        implementation=implementation,
        READERS=readers, NUM_ROWS=num_rows, CHANNELS=channels, BITS=readers.bit_length(),
        BLOCK=ROWS, COLUMNS=columns,
    )  # fmt: skip
    return out


# fmt: off

@jit
def _sum_readers(
    grad, keys, order, out,
    READERS: tl.constexpr, NUM_ROWS: tl.constexpr, CHANNELS: tl.constexpr, BITS: tl.constexpr,
    BLOCK: tl.constexpr, COLUMNS: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)                   # (BLOCK,)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]   # (1, COLUMNS)
    first = _count_below(keys, row, READERS, BITS)                         # (BLOCK,)
    last = _count_below(keys, row + 1, READERS, BITS)                      # (BLOCK,)
    total = tl.zeros((BLOCK, COLUMNS), tl.float32)                         # (BLOCK, COLUMNS)
    for number in range(tl.max(last - first, axis=0)):
        exists = first + number < last                                     # (BLOCK,)
        places = order + first + number                                    # (BLOCK,)
        reader = tl.load(places, mask=exists, other=0).to(tl.int64)        # (BLOCK,)
        inside = exists[:, None] & (column < CHANNELS)                     # (BLOCK, COLUMNS)
        pointers = grad + reader[:, None] * CHANNELS + column              # (BLOCK, COLUMNS)
        total += tl.load(pointers, mask=inside, other=0.0).to(tl.float32)  # (BLOCK, COLUMNS)
    pointers = out + row.to(tl.int64)[:, None] * CHANNELS + column         # (BLOCK, COLUMNS)
    inside = (row < NUM_ROWS)[:, None] & (column < CHANNELS)               # (BLOCK, COLUMNS)
    tl.store(pointers, total.to(out.dtype.element_ty), mask=inside)


@jit
def _count_below(keys, value, READERS: tl.constexpr, BITS: tl.constexpr):
    """How many of the sorted keys are less than each of the values, of shape B, by bisection."""
    count = value * 0                                                     # B
    for bit in tl.static_range(BITS):
        step = 1 << (BITS - 1 - bit)
        inside = count + step <= READERS                                  # B
        pointers = keys + count + step - 1                                # B
        key = tl.load(pointers, mask=inside, other=0xFFFFFFFF)            # B
        count = tl.where(key < value.to(tl.uint32), count + step, count)  # B
    return count
