"""torch.optim.SGD and the schedules, against their definitions in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fourdc_jax.train.optimizer import make_adam, make_schedule, make_sgd


def torch_sgd(param, gradients, rates, momentum, dampening, weight_decay):
    """The algorithm in torch.optim.SGD's documentation, maximize=False, nesterov=False."""
    buffer = None
    for gradient, rate in zip(gradients, rates):
        g = gradient + weight_decay * param
        buffer = g.copy() if buffer is None else momentum * buffer + (1 - dampening) * g
        param = param - rate * buffer
    return param


@pytest.mark.parametrize("dampening", [0.0, 0.1])
def test_updates_equal_torch_sgd(dampening):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=5), rng.normal(size=(7, 5))
    rates = 0.25 * 0.5 ** (np.arange(7) // 3)
    schedule = make_schedule(
        schedule="exponential",
        learning_rate=0.25,
        decay_rate=0.5,
        decay_every=3,
        power=0.9,
        total_steps=7,
    )
    optimizer = make_sgd(schedule, momentum=0.8, dampening=dampening, weight_decay=0.03)
    params = {"w": jnp.asarray(start, jnp.float32)}
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update({"w": jnp.asarray(gradient, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
    expected = torch_sgd(start, gradients, rates, 0.8, dampening, 0.03)
    np.testing.assert_allclose(params["w"], expected, rtol=2e-6)


def test_without_dampening_it_is_optax_sgd_bit_for_bit():
    params = {"w": jnp.linspace(-1.0, 1.0, 8)}
    ours = make_sgd(lambda step: 0.1, momentum=0.8, dampening=0.0, weight_decay=0.0)
    theirs = optax.sgd(lambda step: 0.1, momentum=0.8)
    states = ours.init(params), theirs.init(params)
    for i in range(4):
        gradient = jax.tree.map(lambda w, i=i: jnp.sin(w * (i + 1)), params)
        a, first = ours.update(gradient, states[0], params)
        b, second = theirs.update(gradient, states[1], params)
        states = first, second
        np.testing.assert_array_equal(a["w"], b["w"])


def torch_adamw(param, gradients, rates, b1, b2, epsilon, weight_decay):
    """The algorithm in torch.optim.AdamW's documentation, amsgrad=False, maximize=False."""
    mean, square = np.zeros_like(param), np.zeros_like(param)
    for count, (gradient, rate) in enumerate(zip(gradients, rates), start=1):
        param = param - rate * weight_decay * param
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * gradient**2
        root = np.sqrt(square / (1 - b2**count))
        param = param - rate * (mean / (1 - b1**count)) / (root + epsilon)
    return param


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_updates_equal_torch_adamw(weight_decay):
    """The decay is that of the parameter alone: neither momentum nor scaling sees it."""
    rng = np.random.default_rng(1)
    start, gradients = rng.normal(size=5), rng.normal(size=(7, 5))
    rates = 0.02 * 0.5 ** (np.arange(7) // 3)
    values = {"b1": 0.8, "b2": 0.9, "epsilon": 1e-3, "weight_decay": weight_decay}
    optimizer = make_adam(optax.exponential_decay(0.02, 3, 0.5, staircase=True), **values)
    params = {"w": jnp.asarray(start, jnp.float32)}
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update({"w": jnp.asarray(gradient, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
    expected = torch_adamw(start, gradients, rates, 0.8, 0.9, 1e-3, weight_decay)
    np.testing.assert_allclose(params["w"], expected, rtol=2e-5)


def schedule(kind, total_steps=50_000):
    return make_schedule(
        schedule=kind,
        learning_rate=0.25,
        decay_rate=0.99,
        decay_every=1000,
        power=0.9,
        total_steps=total_steps,
    )


def test_the_paper_decays_by_one_percent_every_thousand_steps():
    rate = schedule("exponential")
    for step, stairs in ((0, 0), (999, 0), (1000, 1), (1999, 1), (49_999, 49)):
        np.testing.assert_allclose(rate(jnp.int32(step)), 0.25 * 0.99**stairs, rtol=1e-5)
    np.testing.assert_allclose(rate(jnp.int32(50_000)), 0.151, atol=5e-4)


def test_polynomial_is_the_references_poly_lr():
    rate = schedule("polynomial", total_steps=10_000)
    for step in (0, 1, 5_000, 9_999):
        np.testing.assert_allclose(
            rate(jnp.int32(step)), 0.25 * (1 - step / 10_001) ** 0.9, rtol=1e-4
        )


def test_constant_and_unknown_schedules():
    assert schedule("constant")(jnp.int32(123)) == 0.25
    with pytest.raises(ValueError, match=r"config\.optimizer\.schedule is 'cosine'"):
        schedule("cosine")
