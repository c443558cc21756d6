"""Checkpoints: exact, atomic, kept as asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.states import assert_same_state

from fourdc_jax.train.checkpoints import Checkpoints, Retention, load_variables
from fourdc_jax.train.optimizer import make_sgd
from fourdc_jax.train.state import TrainState

LAST_TWO = Retention(keep_last=2, keep_every=0, best_metric="")


def make_state(value=1.0, width=5, batch_stats=True):
    params = {"encoder": {"conv": {"kernel": jnp.full((3, width), value)}, "scale": jnp.ones(())}}
    collections = {"batch_stats": {"encoder": {"mean": jnp.arange(4.0) * value}}}
    optimizer = make_sgd(lambda step: 0.1, momentum=0.9, dampening=0.1, weight_decay=0.1)
    return TrainState(
        step=jnp.int32(7),
        params=params,
        collections=collections if batch_stats else {},
        opt_state=optimizer.init(params),
    )


@pytest.mark.parametrize("batch_stats", [True, False])
@pytest.mark.parametrize("position", [b"\x00\xffbytes", {"next": [1, 2], "epoch": 0}])
def test_what_is_saved_comes_back_exactly(tmp_path, position, batch_stats):
    state = make_state(np.pi, batch_stats=batch_stats)
    with Checkpoints(tmp_path, LAST_TWO, asynchronous=True) as checkpoints:
        assert checkpoints.latest_step() is None
        checkpoints.save(7, state, [position, position], {"total": 0.5})
    with Checkpoints(tmp_path, LAST_TWO, asynchronous=False) as checkpoints:
        assert checkpoints.latest_step() == 7
        assert checkpoints.restore_positions(7) == [position, position]
        like = jax.eval_shape(lambda: make_state(batch_stats=batch_stats))
        assert_same_state(checkpoints.restore_state(7, like), state)


def test_donating_a_state_right_after_saving_does_not_change_the_checkpoint(tmp_path):
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    keep = Retention(keep_last=6, keep_every=0, best_metric="")
    state = make_state(0.0, width=100_000)
    with Checkpoints(tmp_path, keep, asynchronous=True) as checkpoints:
        for step in range(6):
            checkpoints.save(step, state, [step], {})
            state = overwrite(state)
        checkpoints.finish()
        for step in range(6):
            restored = checkpoints.restore_state(step, state)
            kernel = restored.params["encoder"]["conv"]["kernel"]
            np.testing.assert_array_equal(kernel, np.full_like(kernel, step))


def kept_steps(tmp_path, retention, steps):
    with Checkpoints(tmp_path, retention, asynchronous=False) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(), [0], {"total": abs(step - 3.5)})
    folder = tmp_path / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (Retention(keep_last=1, keep_every=0, best_metric=""), [8]),
        (Retention(keep_last=2, keep_every=5, best_metric=""), [5, 7, 8]),
        (Retention(keep_last=1, keep_every=0, best_metric="total"), [4, 8]),
        (Retention(keep_last=1, keep_every=0, best_metric="total", highest=True), [8]),
    ],
)
def test_retention(tmp_path, retention, kept):
    assert kept_steps(tmp_path, retention, [1, 2, 4, 5, 7, 8]) == kept
    assert len(kept) <= retention.most(8, 1)


def test_another_model_is_refused_with_both_shapes(tmp_path):
    with Checkpoints(tmp_path, LAST_TWO, asynchronous=False) as checkpoints:
        checkpoints.save(1, make_state(), [0], {})
        with pytest.raises(ValueError, match=r"kernel \(float32\[3, 5\] there, float32\[3, 6\] he"):
            checkpoints.restore_state(1, make_state(width=6))


def test_the_model_alone_is_loaded_from_a_workdir_or_a_step(tmp_path):
    with Checkpoints(tmp_path, LAST_TWO, asynchronous=False) as checkpoints:
        checkpoints.save(1, make_state(1.0), [0], {})
        checkpoints.save(2, make_state(2.0), [0], {})
    for source, value in ((tmp_path, 2.0), (tmp_path / "checkpoints" / "1", 1.0)):
        variables = load_variables(source)
        assert_same_state(variables, jax.device_get(make_state(value).variables))
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_variables(tmp_path / "checkpoints" / "3")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_variables(tmp_path / "elsewhere")
