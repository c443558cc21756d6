"""Splitting a batch over devices, joining processes."""

import dataclasses

import jax
import numpy as np
import pytest
from fixtures.toy_momentum import momentum_config, momentum_task
from fixtures.toy_training import toy_config, toy_task

from fourdc_jax.train import parallel
from fourdc_jax.train.programs import program
from fourdc_jax.train.step import make_train_step


def test_a_batch_is_split_over_devices_and_micro_batches():
    assert parallel.split_batch(12, 1) == 6
    assert parallel.split_batch(12, 3) == 2
    for batch_size, accumulate in ((7, 1), (12, 5), (0, 1)):
        with pytest.raises(ValueError, match=rf"batch_size={batch_size} .* 2 devices x") as info:
            parallel.split_batch(batch_size, accumulate)
        assert f"multiple of {2 * accumulate}" in str(info.value)


def test_a_replicated_state_is_on_every_device_and_unchanged():
    tree = {"a": np.arange(3.0, dtype=np.float32), "n": np.int32(7)}
    replicated = parallel.replicate(tree)
    for name, leaf in replicated.items():
        assert leaf.sharding.device_set == set(jax.devices())
        np.testing.assert_array_equal(leaf, tree[name], strict=True)


@pytest.mark.parametrize("position", [b"\x00\xff", {"step": 3}, "text"])
def test_a_single_process_gathers_its_own_position(position):
    assert parallel.gather_values(position) == [position]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 2, 0), "need --coordinator"),
        (("localhost:1", None, 0), "needs --num_processes and --process_index"),
        (("localhost:1", 2, 2), r"--process_index=2 must lie in 0\.\.1"),
    ],
)
def test_flags_that_do_not_fit_together_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        parallel.initialize_distributed(*arguments)


def test_without_a_coordinator_a_run_is_one_process(monkeypatch):
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    joined = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *arguments: joined.append(arguments))
    parallel.initialize_distributed(None, None, None)
    assert joined == []


def test_the_environment_tells_what_the_flags_do_not(monkeypatch):
    joined = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *arguments: joined.append(arguments))
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "host:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "3")
    parallel.initialize_distributed(None, None, None)
    parallel.initialize_distributed("other:2", 5, 0)
    parallel.initialize_distributed("auto", None, None)
    assert joined == [("host:1", 4, 3), ("other:2", 5, 0), ()]


@pytest.mark.parametrize("make", [(toy_config, toy_task), (momentum_config, momentum_task)])
def test_shard_map_equals_pmap_bit_for_bit(make):
    """State and outcome of several steps on two devices, collections included."""
    assert jax.device_count() == 2
    make_config, make_task = make
    config = make_config()
    task = make_task(config)
    by_pmap = program(task, config)
    step = make_train_step(task, by_pmap.optimizer, by_pmap.schedule, parallel.AXIS)
    by_shard_map = dataclasses.replace(by_pmap, mapped=parallel.shard(step))
    batches = task.batches(None)
    batch = next(batches)
    start = jax.device_get(by_pmap.initialize(jax.tree.map(lambda a: a[0, 0], batch)))
    first, second = start, start
    for _ in range(5):
        first, one = by_pmap.step(first, batch)
        second, other = by_shard_map.step(second, batch)
        left, right = ((first, one), (second, other))
        assert jax.tree.structure(left) == jax.tree.structure(right)
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right)):
            np.testing.assert_array_equal(a, b, strict=True)
        batch = next(batches)
    changed = [np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (start.params, first.params)))]
    assert all(changed)
