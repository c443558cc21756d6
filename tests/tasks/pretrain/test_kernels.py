"""Pre-training with the Triton kernels, in the interpreter, is pre-training with plain jnp."""

import jax
import numpy as np
import pytest
from tasks.pretrain.test_task import tiny_config

from fourdc_jax.data.grids.grid import Grid
from fourdc_jax.data.sequences.batches import SequenceBatch
from fourdc_jax.data.sequences.samples import View
from fourdc_jax.tasks.pretrain import task as pretrain
from fourdc_jax.train.programs import program

pytest.importorskip("triton", reason="its interpreter runs the kernels")

CAPACITY = (256, 128, 64, 32, 16)
FRAMES, TRACKS = 4, 20


def random_batch(seed):
    """One sequence of random voxels on a slanted plane, and tracks that share rows."""
    rng = np.random.default_rng(seed)
    views = []
    for columns, items in ((4, FRAMES), (5, 1)):
        coords = rng.integers(-5, 5, (150, columns))
        coords[:, 0], coords[:, 3] = rng.integers(0, items, 150), coords[:, 1] // 2
        coords[:, 4:] %= FRAMES
        coords = np.unique(coords, axis=0).astype(np.int32)
        num_rows = len(coords)
        padded = np.full((CAPACITY[0], columns), -(2**30), np.int32)
        padded[:num_rows] = coords
        features = (np.arange(CAPACITY[0]) < num_rows).astype(np.float32)[:, None]
        grid = Grid(padded, np.int32(num_rows), features, np.array(CAPACITY, np.int32))
        tracks = rng.integers(-1, num_rows, (1, TRACKS, FRAMES)).astype(np.int32)
        views.append(View(grid, tracks))
    return SequenceBatch(*views)


def train(implementation):
    """Losses of two steps, from the same start, and the state after them."""
    config = tiny_config().unlock()
    config.implementation, config.batch_size = implementation, jax.device_count()
    config.data.capacity.rows_3d = config.data.capacity.rows_4d = CAPACITY
    task = pretrain.create_task(config.lock())
    programs = program(task, config, jax.local_devices()[:1])
    state = jax.device_get(jax.jit(programs.initialize)(random_batch(0)))
    losses = []
    for seed in range(2):
        batch = jax.tree.map(lambda leaf: leaf[None, None], random_batch(seed))
        state, outcome = jax.device_get(programs.step(state, batch))
        for needed, available in outcome.limits.values():
            assert needed <= available
        values = {"total": outcome.total, "norm": outcome.gradient_norm, **outcome.terms}
        losses.append({name: float(value) for name, value in values.items()})
    return losses, state


@pytest.mark.slow
def test_two_steps_equal_those_of_plain_jnp():
    """Losses, parameters, momentum and running statistics, up to float32 rounding."""
    losses, state = train("interpret")
    expected_losses, expected_state = train("xla")
    for step, expected in zip(losses, expected_losses):
        assert step == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert losses[0]["total"] != losses[1]["total"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        state,
        expected_state,
    )
