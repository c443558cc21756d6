"""Which cells of the last axis are occupied, as one word for each block of 16 cells.

Voxels in the order of their keys that differ in the last coordinate only form a line. A block is 16
neighbouring cells of a line with `radius` more on each side: bit i of its word says whether the
cell i - radius of the block is occupied. A voxel near the end of a block is in two words. With the
position of the first of its voxels a word tells the positions of all.
"""

import numpy as np
from fourdc_jax.kernels.cpu_call import jit
from numba import types
from numba.extending import intrinsic

CELL_BITS = 4  # of a key, cells of a block
LARGEST_RADIUS = 8  # 16 + 2 * 8 bits are a word
END = 2**63 - 1  # key of the entry after the last block


@jit
def mark_blocks(keys, radius, block_of, blocks, words, firsts):
    """Write all blocks that a search may ask for; their number.

    Args:
      keys: int64 [n], rising, with room for the radius.
      block_of: int32 [n], the block that each voxel is in the 16 cells of.
      blocks: int64 [2 n + 1], keys of the blocks without their lowest bits, rising; END at the end.
      words: uint32 [2 n + 1].
      firsts: int32 [2 n + 1], position of the first voxel that has a bit in the word.
    """
    last = -1
    for position in range(len(keys)):
        key = keys[position]
        lower, upper = (key - radius) >> CELL_BITS, (key + radius) >> CELL_BITS
        for block in range(lower, upper + 1):  # one, or two that follow each other
            if last < 0 or blocks[last] < block:
                last += 1
                blocks[last], words[last], firsts[last] = block, 0, position
        own = last - (upper - (key >> CELL_BITS))
        block_of[position] = own
        for block in range(lower, upper + 1):
            bit = key - (block << CELL_BITS) + radius
            words[last - (upper - block)] |= np.uint32(1) << np.uint32(bit)
    blocks[last + 1], words[last + 1], firsts[last + 1] = END, 0, 0
    return last + 1


@intrinsic
def count_bits(typing, word):
    """Number of bits that are set in a uint32."""

    def generate(context, builder, signature, values):
        return builder.ctpop(values[0])

    return types.uint32(types.uint32), generate
