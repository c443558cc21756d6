"""Weight initialisation as in MinkowskiEngine, whose checkpoints and results are the reference."""

import math

import jax
from flax.typing import Initializer


def minkowski_uniform(fan: int) -> Initializer:
    """Uniform in [-1/sqrt(fan), 1/sqrt(fan)], for kernels and their biases.

    `fan` is c_in * k for a convolution and c_out * k for a transposed one (k kernel offsets).
    """
    bound = 1 / math.sqrt(fan)

    def initialize(key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize
