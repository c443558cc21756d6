"""Gradients over devices and micro-batches equal those of one device that sees everything."""

import jax
import numpy as np
import optax
import pytest
from fixtures.toy_training import init, loss, toy_config, toy_task

from fourdc_jax.train import parallel
from fourdc_jax.train.programs import program
from fourdc_jax.train.state import make_state_initializer
from fourdc_jax.train.step import make_train_step
from fourdc_jax.train.task import Alarm, StepContext

RATE = 0.1
SEED = np.uint32(0)
ALONE = StepContext(step=0, rng=None, axis_name=None)


def split(batch, devices, accumulate):
    """[n, ...] -> [devices, accumulate, n / (devices * accumulate), ...]."""
    return {k: v.reshape(devices, accumulate, -1, *v.shape[1:]) for k, v in batch.items()}


def whole_batch(n=24):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    weight = (rng.random(n) < 0.7).astype(np.float32)
    return {"x": x, "y": x @ np.float32([1.0, -2.0, 0.5]), "weight": weight}


def one_step(batch, devices, steps=1, **task_changes):
    """The state and outcome of plain SGD on some devices; batch [devices, accumulate, ...]."""
    task = toy_task(toy_config(), **task_changes)
    optimizer = optax.sgd(RATE)
    step = make_train_step(task, optimizer, optax.constant_schedule(RATE), parallel.AXIS)
    train_step = parallel.parallelize(step, jax.devices()[:devices])
    state = make_state_initializer(task, optimizer, 0)(jax.tree.map(lambda a: a[0, 0], batch))
    for _ in range(steps):
        state, outcome = train_step(state, batch, SEED, np.zeros([devices], np.int32))
    return jax.device_get(state), jax.device_get(outcome)


def plain_loss(params, batch, batch_stats):
    """The loss by one device's autodiff, no axis: what all the machinery must equal."""
    output = loss({"params": params, "batch_stats": batch_stats}, batch, ALONE)
    means = {name: total / count for name, (total, count) in output.terms.items()}
    return means["fit"] + 0.5 * means["size"], (means, output.collections["batch_stats"])


def test_two_devices_give_the_gradient_and_loss_of_one():
    batch = whole_batch()
    variables = init(jax.random.key(0), batch)
    gradient, (means, batch_stats) = jax.grad(plain_loss, has_aux=True)(
        variables["params"], batch, variables["batch_stats"]
    )
    for devices in (1, 2):
        state, outcome = one_step(split(batch, devices, 1), devices)
        taken = jax.tree.map(lambda old, new: (old - new) / RATE, variables["params"], state.params)
        for expected, got in zip(jax.tree.leaves(gradient), jax.tree.leaves(taken)):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)
        for name, mean in means.items():
            np.testing.assert_allclose(outcome.terms[name], mean, rtol=1e-5)
        np.testing.assert_allclose(outcome.gradient_norm, optax.tree.norm(gradient), rtol=1e-5)
        np.testing.assert_allclose(
            state.collections["batch_stats"]["encoder"]["mean"],
            batch_stats["encoder"]["mean"],
            atol=1e-6,
        )


def test_many_steps_stay_equal_on_one_and_two_devices():
    batch = whole_batch()
    one, _ = one_step(split(batch, 1, 1), 1, steps=20)
    two, _ = one_step(split(batch, 2, 1), 2, steps=20)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("devices", [1, 2])
def test_accumulation_is_the_mean_of_the_micro_batches(devices):
    """Micro-batch i holds slice i of every device; statistics pass from one to the next."""
    batch = split(whole_batch(), devices, 3)
    variables = init(jax.random.key(0), {"x": batch["x"][0, 0]})
    batch_stats, gradients, fits, counts = variables["batch_stats"], [], [], []
    for i in range(3):
        micro = {k: v[:, i].reshape(-1, *v.shape[3:]) for k, v in batch.items()}
        gradient, (means, batch_stats) = jax.grad(plain_loss, has_aux=True)(
            variables["params"], micro, batch_stats
        )
        gradients.append(gradient)
        fits.append(means["fit"])
        counts.append(micro["weight"].sum())
    expected = jax.tree.map(lambda *g: sum(g) / 3, *gradients)

    state, outcome = one_step(batch, devices)
    taken = jax.tree.map(lambda old, new: (old - new) / RATE, variables["params"], state.params)
    for want, got in zip(jax.tree.leaves(expected), jax.tree.leaves(taken)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(outcome.terms["fit"], np.mean(fits), rtol=1e-5)
    np.testing.assert_allclose(outcome.counts["fit"], sum(counts))
    np.testing.assert_allclose(
        state.collections["batch_stats"]["encoder"]["mean"],
        batch_stats["encoder"]["mean"],
        atol=1e-6,
    )


def test_a_term_averaged_over_nothing_is_zero_without_gradient():
    batch = whole_batch()
    batch["y"] = -np.abs(batch["y"])  # "size" counts positive targets only
    state, outcome = one_step(split(batch, 2, 1), 2)
    assert outcome.terms["size"] == 0.0
    assert outcome.counts["size"] == 0.0
    only_fit, _ = one_step(split(batch, 2, 1), 2, weights={"fit": 1.0, "size": 0.0})
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(only_fit.params)):
        np.testing.assert_array_equal(a, b)


def test_limits_tell_the_most_of_any_device_and_micro_batch():
    batch = split(whole_batch(), 2, 3)
    batch["x"][0, 1, 0, 0] = 500.0
    batch["x"][1, 2, :2, 0] = 500.0
    _, outcome = one_step(batch, 2)
    assert outcome.limits["large_values"] == (2, 0)


def test_stop_requests_reach_every_device():
    config = toy_config()
    programs = program(toy_task(config), config)
    batch = split(whole_batch(), 2, 1)
    state = programs.initialize({"x": batch["x"][0, 0]})
    _, outcome = programs.mapped(state, batch, programs.seed, np.asarray([0, 1], np.int32))
    assert outcome.stop_requests == 1
    assert outcome.learning_rate == np.float32(0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"fit": 1.0}}, "has weights for"),
        ({"weights": {"fit": 1.0, "total": 1.0}}, "has weights for"),
        ({"alarms": {"feature_std": Alarm(0.1, "")}}, "feature_std"),
    ],
)
def test_a_task_that_contradicts_itself_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        one_step(split(whole_batch(), 1, 1), 1, **changes)


def test_frozen_parameters_stay_whatever_decay_says():
    batch = split(whole_batch(), 1, 1)
    optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(RATE))
    task = toy_task(toy_config(), frozen=("encoder/.*",))
    step = make_train_step(task, optimizer, optax.constant_schedule(RATE), parallel.AXIS)
    state = make_state_initializer(task, optimizer, 0)(jax.tree.map(lambda a: a[0, 0], batch))
    before = jax.device_get(state.params)
    train_step = parallel.parallelize(step, jax.devices()[:1])
    after = jax.device_get(train_step(state, batch, SEED, np.zeros([1], np.int32))[0].params)
    np.testing.assert_array_equal(after["encoder"]["kernel"], before["encoder"]["kernel"])
    assert (after["head"]["kernel"] != before["head"]["kernel"]).all()


def test_a_frozen_pattern_that_fits_nothing_is_told():
    with pytest.raises(ValueError, match="no parameter fits 'encodr/"):
        one_step(split(whole_batch(), 1, 1), 1, frozen=("encodr/.*",))
