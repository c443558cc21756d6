"""The padding contract: rows at or beyond `num_rows` hold nothing.

Their features are exactly 0 and their coordinates are `PAD_COORDINATE`. No operation reads a padded
coordinate; the value only makes a stray one easy to see. Adding capacity never changes a result.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

PAD_COORDINATE = -(2**30)


def valid_rows(capacity: int, num_rows: Int[Array, ""]) -> Bool[Array, "n"]:
    """Which of `capacity` rows hold data."""
    return jnp.arange(capacity, dtype=jnp.int32) < num_rows


def zero_padding(features: Shaped[Array, "n c"], num_rows: Int[Array, ""]) -> Shaped[Array, "n c"]:
    """The features with every padded row set to exactly 0, whatever it held (NaN included)."""
    valid = valid_rows(features.shape[0], num_rows)
    return jnp.where(valid[:, None], features, jnp.zeros((), features.dtype))


def check_coords(coords: Int[Array, "n columns"], num_rows: Int[Array, ""]) -> int:
    """The number of spatial (and temporal) dimensions d of a coordinate array [n, 1 + d].

    Raises:
      ValueError: the array is not int32 [n, 2..5], or `num_rows` is no int32 scalar.
    """
    if coords.ndim != 2 or not 2 <= coords.shape[1] <= 5:
        raise ValueError(
            f"coords must be int32 [n, 1 + d] with d from 1 to 4 (batch index first), "
            f"got shape {tuple(coords.shape)}."
        )
    if coords.dtype != jnp.int32:
        raise ValueError(f"coords must be int32, got {coords.dtype}.")
    if jnp.shape(num_rows) != () or jax.dtypes.result_type(num_rows) != jnp.int32:
        raise ValueError(
            f"num_rows must be an int32 scalar array, got shape {jnp.shape(num_rows)} "
            f"and dtype {jax.dtypes.result_type(num_rows)}."
        )
    return coords.shape[1] - 1
