"""What a method may ask of training: collections, several evaluations, schedules, randomness."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.processes import checkpoint_steps, kill_when, launch
from fixtures.states import assert_same_state, without_speed
from fixtures.toy_momentum import MOMENTUM, QUEUE, loss, momentum_config, momentum_task

from fourdc_jax.train.checkpoints import Checkpoints, Retention, find_step, load_variables
from fourdc_jax.train.health import TrainingStopped
from fourdc_jax.train.loop import train
from fourdc_jax.train.programs import program
from fourdc_jax.train.task import Evaluation, LossOutput
from fourdc_jax.train.writers import read_history

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, compiled_once):
    """An uninterrupted run: (workdir, final state, on the devices)."""
    workdir = tmp_path_factory.mktemp("finished")
    config = momentum_config()
    return workdir, train(momentum_task(config), config, workdir)


def test_it_trains(tmp_path):
    changes = {"total_steps": 80, "batch_size": 32, "checkpoint.best_metric": ""}
    config = momentum_config(**{**changes, "checkpoint.every": 100})
    train(momentum_task(config, evaluations=()), config, tmp_path)
    similar = [line["similar"] for line in read_history(tmp_path)]
    assert np.mean(similar[-5:]) < 0.3 * np.mean(similar[2:7])


def test_its_collections_move(finished):
    workdir, state = finished
    steps = [line for line in read_history(workdir) if "total" in line]
    assert [line["ramp"] for line in steps] == pytest.approx([min(i / 10, 1) for i in range(20)])
    assert steps[0]["push"] == 0.0
    assert int(state.collections["queue"]["seen"]) == 20 * 8
    keys = np.asarray(state.collections["queue"]["keys"])
    assert len(np.unique(keys, axis=0)) == QUEUE
    assert set(load_variables(workdir)) == {"params", "momentum", "queue"}


def test_the_follower_moves_once_a_step(tmp_path):
    """By the parameters before the step, whatever the number of micro-batches."""
    start, config = (momentum_config(total_steps=n) for n in (1, 2))
    task = momentum_task(config)
    before = jax.device_get(train(momentum_task(start), start, tmp_path))
    after = jax.device_get(train(task, config, tmp_path))
    old, new, encoder = (
        tree["encoder"]["kernel"]
        for tree in (before.collections["momentum"], after.collections["momentum"], before.params)
    )
    np.testing.assert_allclose(new, MOMENTUM * old + (1 - MOMENTUM) * encoder, rtol=1e-5)
    assert np.abs(new - old).max() > 0


def test_collections_are_equal_on_both_devices(finished):
    assert jax.local_device_count() == 2
    _, state = finished
    leaves = jax.tree.leaves(state.collections)
    assert len(leaves) == 3
    for leaf in leaves:
        first, second = (np.asarray(leaf.addressable_data(device)) for device in range(2))
        np.testing.assert_array_equal(first, second, strict=True)


def test_a_collection_that_differs_between_devices_is_told_at_once(tmp_path):
    def careless(variables, batch, at):
        output = loss(variables, batch, at)
        queue = dict(output.collections["queue"])
        queue["keys"] = queue["keys"] + jax.lax.axis_index(at.axis_name).astype(jnp.float32)
        return output.replace(collections={**output.collections, "queue": queue})

    config = momentum_config()
    with pytest.raises(TrainingStopped, match="step 1: the collection 'queue' differs between"):
        train(momentum_task(config, loss=careless), config, tmp_path)
    assert checkpoint_steps(tmp_path) == []


def test_a_collection_that_is_forgotten_is_told(tmp_path):
    def forgetful(variables, batch, at):
        output = loss(variables, batch, at)
        return output.replace(collections={"queue": output.collections["queue"]})

    config = momentum_config()
    with pytest.raises(ValueError, match=r"returns the collections \['queue'\] but was initial"):
        train(momentum_task(config, loss=forgetful), config, tmp_path)


def test_each_evaluation_is_due_by_its_own_rhythm(finished):
    workdir, _ = finished
    history = read_history(workdir)
    norms = [line["step"] for line in history if "norm" in line]
    agreements = {line["step"]: line["agreement"] for line in history if "agreement" in line}
    assert norms == list(range(2, 21, 2))
    assert list(agreements) == [3, 6, 9, 12, 15, 18, 20]
    best = max(agreements, key=agreements.get)
    assert find_step(workdir, "agreement") == best
    assert checkpoint_steps(workdir)[-1] == 20
    assert best in checkpoint_steps(workdir)


@pytest.mark.parametrize(
    ("evaluations", "message"),
    [
        ([Evaluation(2, ("a",), dict), Evaluation(3, ("a", "b"), dict)], r"two .* measure \['a'\]"),
        ([Evaluation(0, ("a", "b"), dict)], "measures a, b every 0 steps"),
    ],
)
def test_evaluations_that_cannot_be_are_told(evaluations, message, tmp_path):
    config = momentum_config(**{"checkpoint.best_metric": ""})
    task = dataclasses.replace(momentum_task(config), evaluations=tuple(evaluations))
    with pytest.raises(ValueError, match=message):
        train(task, config, tmp_path)


@pytest.mark.parametrize("lines", [1, 13])
def test_a_killed_run_ends_as_if_it_had_not_been_killed(finished, tmp_path, lines):
    """SIGKILL, then the same command again: parameters, collections and history, bit for bit."""
    whole, state = finished
    workdir = tmp_path / "killed"
    process = launch("toy_momentum.py", workdir, 20, 0.02)
    kill_when(process, lambda: len(read_history(workdir)) >= lines)
    assert max(checkpoint_steps(workdir, "[0-9]*"), default=0) < 20
    again = launch("toy_momentum.py", workdir, 20, 0)
    _, stderr = again.communicate(timeout=120)
    assert again.returncode == 0, stderr
    with Checkpoints(workdir, Retention(2, 0, ""), asynchronous=False) as checkpoints:
        assert_same_state(checkpoints.restore_state(20, state), jax.device_get(state))
    assert without_speed(read_history(workdir)) == without_speed(read_history(whole))


def drawing_task(config):
    """A task whose collection holds what every device drew, by step and micro-batch."""

    def init(rng, batch):
        drawn = jnp.zeros((config.total_steps, config.accumulate, jax.device_count()))
        return {"params": {"w": jnp.ones(())}, "drawn": drawn}

    def draw(variables, batch, at):
        everywhere = jax.lax.all_gather(jax.random.uniform(at.rng), at.axis_name)  # (devices,)
        drawn = variables["drawn"].at[at.step, at.micro_batch].set(everywhere)
        term = (variables["params"]["w"] ** 2, jnp.ones(()))
        return LossOutput(terms={"only": term}, collections={"drawn": drawn})

    return momentum_task(config, init=init, loss=draw, weights={"only": 1.0}, evaluations=())


def test_random_numbers_differ_by_step_micro_batch_and_seed_alone(tmp_path):
    """Equal on all devices, equal when resumed, and not those that initialise."""
    changes = {"total_steps": 5, "checkpoint.every": 2, "checkpoint.best_metric": ""}
    drawn = {}
    for seed in (3, 4):
        config = momentum_config(seed=seed, **changes)
        state = train(drawing_task(config), config, tmp_path / str(seed))
        drawn[seed] = np.asarray(state.collections["drawn"])
    for values in drawn.values():
        np.testing.assert_array_equal(values[..., 0], values[..., 1])
    both = np.stack([values[..., 0] for values in drawn.values()])  # [seeds, steps, micro-batches]
    assert len(np.unique(both)) == both.size == 20
    assert jax.random.uniform(jax.random.key(3)) not in both

    config = momentum_config(seed=3, **changes)
    resumed = tmp_path / "resumed"

    def crash(index):
        if index == 4:
            raise OSError("gone")

    task = drawing_task(config)
    stopping = momentum_task(config, on_batch=crash)
    with pytest.raises(OSError, match="gone"):
        train(dataclasses.replace(task, batches=stopping.batches), config, resumed)
    assert checkpoint_steps(resumed) == [2]
    state = train(task, config, resumed)
    np.testing.assert_array_equal(state.collections["drawn"], drawn[3])


def test_runs_of_two_seeds_share_a_program():
    """The seed is an argument: a sweep over seeds compiles once."""
    texts = []
    for seed in (3, 2**32 + 4):
        config = momentum_config(seed=seed)
        task = momentum_task(config)
        programs = program(task, config)
        batch = next(task.batches(None))
        state = jax.eval_shape(programs.initialize, jax.tree.map(lambda a: a[0, 0], batch))
        stop = np.zeros(jax.device_count(), np.int32)
        texts.append(programs.mapped.lower(state, batch, programs.seed, stop).as_text())
    assert texts[0] == texts[1]
