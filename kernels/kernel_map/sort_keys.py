"""How output rows are sorted so that those with the same neighbours stand together.

A row's mask says in which directions it has neighbours. Read as a Gray code and decoded to its
rank, neighbouring ranks differ in few bits. The bits from the lowest on are for the neighbours that
most rows have: along an axis, then along the edges and last the corners of the 3^3 cube, so that
what few rows have splits the order at few places. Whether a row has neighbours in the frame before
and in the one after decides about whole thirds of a 4D kernel, so that these two bits are highest.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from fourdc_jax.kernels.kernel_map.offsets import SPATIAL_AXES
from jaxtyping import Int32, UInt32

KEY_BITS = 32
CHUNK_ROWS = 65536  # rows whose features stay in the GPU's cache while they are gathered


class SortKey(NamedTuple):
    """What the sort key of a row is made of: chunk << mask_bits | rank of the mask.

    Attributes:
      words: uint32 [k], bits of the mask that each offset sets.
      mask_bits: bits of the mask.
      chunk_rows: rows of a chunk; sorting does not move a row out of its chunk.
      dtype: the narrowest that holds the key: a radix sort makes one pass a byte.
    """

    words: UInt32[np.ndarray, "k"]
    mask_bits: int
    chunk_rows: int
    dtype: jnp.dtype


def submanifold_key(offsets: Int32[np.ndarray, "k d"], num_rows: int) -> SortKey:
    """One bit for each direction in space (26 of them in 3D and 4D), and two for time.

    Larger kernels have several offsets in a direction, which share its bit. The centre, which every
    row has, sets none.
    """
    space, time = np.sign(offsets[:, :SPATIAL_AXES]), offsets[:, SPATIAL_AXES:]
    cube = np.stack(np.meshgrid(*[[-1, 0, 1]] * space.shape[1], indexing="ij"), -1)
    directions = cube.reshape(-1, space.shape[1])
    by_distance = np.argsort(np.count_nonzero(directions, axis=1), kind="stable")[1:]
    is_bit = [(space == direction).all(1) for direction in directions[by_distance]]
    if time.shape[1]:
        is_bit += [(time < 0).any(1), (time > 0).any(1)]
    values = np.uint32(1) << np.arange(len(is_bit), dtype=np.uint32)
    words = np.where(np.stack(is_bit, axis=1), values, np.uint32(0)).sum(1, dtype=np.uint32)
    most_chunks = 2 ** (KEY_BITS - len(is_bit)) - 1  # the largest key is for padded rows
    chunk_rows = max(CHUNK_ROWS, -(-num_rows // most_chunks))
    return SortKey(words, len(is_bit), chunk_rows, jnp.dtype(jnp.uint32))


def strided_key(volume: int, num_rows: int) -> SortKey:
    """One bit for each child position; more than 32 share bits."""
    bits = min(volume, KEY_BITS)
    words = np.uint32(1) << (np.arange(volume) * bits // volume).astype(np.uint32)
    dtype = next(d for d in (jnp.uint8, jnp.uint16, jnp.uint32) if jnp.iinfo(d).bits >= bits)
    return SortKey(words, bits, num_rows, jnp.dtype(dtype))
