"""What sparse operations answer to `jax.vmap`."""

from collections.abc import Callable

from jax.custom_batching import custom_vmap
from jaxtyping import Array


def refuse_vmap(call: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
    """The same function, which raises a ValueError with the reason under `jax.vmap`."""
    function = custom_vmap(call)

    @function.def_vmap
    def refuse(axis_size, in_batched, *arrays):
        raise ValueError(
            "sparse operations do not go under jax.vmap: the batch index is the first column of "
            "the coordinates. Concatenate the scenes into one coordinate array instead."
        )

    return function
