"""Reading rows of features, some of them several times, with a gradient that sums their readers."""

import jax.numpy as jnp
from fourdc_jax.kernels.gather_rows import xla
from fourdc_jax.kernels.implementation import Implementation, resolve
from jaxtyping import Array, Float, Int


def gather_rows(
    features: Float[Array, "n c"],
    rows: Int[Array, "*readers"],
    *,
    implementation: Implementation = "auto",
) -> Float[Array, "*readers c"]:
    """The features of the given rows; 0 where a row is negative.

    The gradient of a row is the float32 sum of its readers' gradients. The Triton and CPU kernels
    add them in the readers' order, in every run the same; XLA does so on a CPU, but not on a GPU.

    Args:
      features: [n, c].
      rows: int32, each less than n.

    Raises:
      ValueError: other shapes or dtypes, or an implementation that is not available.
    """
    if features.ndim != 2 or rows.dtype != jnp.int32:
        raise ValueError(
            f"features [n, c] {tuple(features.shape)} and int32 rows are needed, got rows of "
            f"{rows.dtype}."
        )
    resolved = resolve(implementation)
    if resolved == "xla":
        return xla.gather_rows(features, rows)
    if resolved == "cpu":
        from fourdc_jax.kernels.gather_rows import cpu

        return cpu.gather_rows(features, rows)
    from fourdc_jax.kernels.gather_rows import triton

    return triton.gather_rows(features, rows, resolved)
