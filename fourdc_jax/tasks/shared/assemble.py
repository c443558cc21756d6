"""What every task does alike: fresh variables, and its batches."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from fourdc_jax.data.loader import Batches, LoaderParams, Maker
from fourdc_jax.train.task import Batch, BatchIterator, Variables


def initialize(make_model: Callable[..., nn.Module], rng: jax.Array, batch: Batch) -> Variables:
    """Fresh parameters and running statistics; depends on the batch's shapes only."""
    # Each kernel is one draw, and XLA:CPU compiles this generator's in a third of the time.
    rng = jax.random.key(jax.random.bits(rng), impl="rbg")
    return make_model(axis_name=None).init(rng, batch, train=True)


def make_loader_params(
    *, batch: int, accumulate: int, num_workers: int, prefetch: int
) -> LoaderParams:
    """The loader of this process, see `LoaderParams`."""
    return LoaderParams(
        batch=batch,
        local_devices=jax.local_device_count(),
        accumulate=accumulate,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_workers=num_workers,
        prefetch=prefetch,
    )


def open_batches(maker: Maker, loader: LoaderParams, position: Any) -> BatchIterator:
    """The batches of this process, from the start or from where a run was left."""
    batches = Batches(maker, loader)
    if position is not None:
        batches.set_state(position)
    return batches
