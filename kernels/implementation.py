"""The one decision of which implementation of an operation runs."""

from typing import Literal

import jax

Implementation = Literal["auto", "xla", "triton", "interpret"]


def resolve(implementation: str, available: tuple[str, ...] = ("xla",)) -> str:
    """Name of the implementation to run: Triton on CUDA and XLA elsewhere for `auto`.

    Args:
      implementation: "auto", "xla", "triton" or "interpret".
      available: what the calling operation has.

    Raises:
      ValueError: the name is unknown, or the operation has no such implementation.
    """
    if implementation == "auto":
        on_cuda = jax.default_backend() == "gpu"
        return "triton" if on_cuda and "triton" in available else "xla"
    if implementation not in ("xla", "triton", "interpret"):
        raise ValueError(
            f"implementation={implementation!r} is unknown: use 'auto', 'xla', 'triton' or "
            "'interpret'."
        )
    if implementation not in available:
        raise ValueError(
            f"implementation={implementation!r} is not available for this operation; it has "
            f"{', '.join(available)}. Use 'auto' to take the best one that runs here."
        )
    return implementation
