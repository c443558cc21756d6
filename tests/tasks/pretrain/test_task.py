"""The pre-training task from its config: data, model, losses and what the loop is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fourdc_jax.configs.pretrain import get_config
from ml_collections import ConfigDict

from fourdc_jax.data.grids.grid import Grid
from fourdc_jax.data.sequences.batches import SequenceBatch
from fourdc_jax.data.sequences.samples import View
from fourdc_jax.tasks.pretrain import task as pretrain
from fourdc_jax.train.task import StepContext


def tiny_config(**changes) -> ConfigDict:
    """The demo, with networks and data that compile and run in seconds."""
    config = get_config("demo").unlock()
    config.batch_size = 2 * jax.device_count()
    config.accumulate = 1
    config.data.scans, config.data.shapes = "procedural:2", "procedural:4"
    config.data.trajectories_per_scan = 2
    config.data.num_workers = 0
    config.data.capacity.num_samples = 2
    config.data.capacity.multiple = 128
    config.data.capacity.margin = 3.0  # room for two micro-batches in the capacity of one
    config.data.voxels.voxel_3d, config.data.voxels.voxel_4d = 0.2, 0.3
    config.data.voxels.num_tracks = 64
    for network in (config.model.network_3d, config.model.network_4d):
        network.architecture = ""
        network.planes, network.layers = (4,) * 8, (1, 0, 0, 0, 0, 0, 0, 0)
        network.stem_channels = 4
        network.kernel_type = "hypercross"
    config.model.network_4d.stem_kernel_size = (3, 3, 3, 1)
    config.model.features, config.model.predictor_hidden = 8, 4
    config.update_from_flattened_dict(changes)
    return config.lock()


@pytest.fixture(scope="module")
def task():
    return pretrain.create_task(tiny_config())


@pytest.fixture(scope="module")
def batch(task):
    """Of this process: [local devices, accumulate, ...]."""
    return next(task.batches(None))


@pytest.fixture(scope="module")
def variables(task, batch):
    return jax.jit(task.init)(jax.random.key(0), jax.tree.map(lambda a: a[0, 0], batch))


def test_batch_is_what_the_model_reads(task, batch):
    devices = jax.local_device_count()
    assert batch.frames.tracks.shape == (devices, 1, 2, 64, 4)
    for view in batch:
        assert view.grid.coords.shape[:2] == (devices, 1)
    assert task.batch_size == 2 * devices


def test_two_devices_equal_one_on_the_same_sequences(task, batch, variables):
    """Loss terms, metrics and running statistics, with global batch norm; the other device idle."""
    assert jax.local_device_count() == 2
    at = StepContext(step=0, rng=None, axis_name="device")
    run = jax.pmap(
        lambda micro: finish(task.loss(variables, micro, at), "device"),
        axis_name="device",
        out_axes=None,
    )
    means, stats, limits = run(spare_tracks(batch))
    means_of_one, stats_of_one, _ = run(move_to_first(batch))
    for name, value in means.items():
        assert float(value) == pytest.approx(float(means_of_one[name]), abs=1e-5), name
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), stats, stats_of_one
    )
    assert set(means) == {
        *("loss_3d", "loss_3d4d", "loss_4d"),
        *(f"{name}_{k}d" for name in ("feature_std", "feature_rank", "cosine") for k in (3, 4)),
    }
    assert set(task.hints) == set(limits)
    for needed, available in limits.values():
        assert needed <= available


def finish(output, axis_name):
    """Every (sum, count) pair summed over devices and divided; statistics; limits."""
    means = jax.lax.psum(output.terms | output.metrics, axis_name)
    needs = {k: (jax.lax.pmax(need, axis_name), room) for k, (need, room) in output.limits.items()}
    return {k: total / count for k, (total, count) in means.items()}, output.collections, needs


def spare_tracks(batch):
    """The batch with as many absent tracks again, so that `move_to_first` has the same shapes."""
    micro = jax.tree.map(lambda leaf: leaf[:, 0], batch)
    return SequenceBatch(
        *(
            view._replace(tracks=np.concatenate([view.tracks, 0 * view.tracks - 1], axis=2))
            for view in micro
        )
    )


def move_to_first(batch):
    """The same sequences, all on device 0; nothing on device 1."""
    micro = jax.tree.map(lambda leaf: leaf[:, 0], batch)
    # Batch items in a micro-batch: frames, or sequences.
    return SequenceBatch(move_view(micro.frames, items=8), move_view(micro.sequence, items=2))


def move_view(view, items):
    """One network's part of it."""
    (coords, counts, features, needed), tracks = view
    offset = np.zeros(coords.shape[-1], np.int32)
    offset[0] = items
    rows = np.concatenate([coords[0][: counts[0]], coords[1][: counts[1]] + offset])
    assert len(rows) <= coords.shape[1]  # the capacity's margin has room for both
    moved, ones = np.full_like(coords, -(2**30)), np.zeros_like(features)
    moved[0, : len(rows)], ones[0, : len(rows)] = rows, 1
    shifted = np.where(tracks[1] >= 0, tracks[1] + counts[0], -1)  # [b, m, t]
    both = np.concatenate([tracks[0], shifted], axis=1)  # more sequences become more tracks
    moved_tracks = np.stack([both, np.full_like(both, -1)]).astype(np.int32)
    return View(Grid(moved, np.array([len(rows), 0], np.int32), ones, needed), moved_tracks)


def test_weights_and_alarms_follow_the_config(task):
    assert task.weights == {"loss_3d": 1.0, "loss_3d4d": 1.0, "loss_4d": 1.0}
    assert task.alarms["feature_std_3d"].lowest == pytest.approx(0.2 / 8**0.5)
    assert task.alarms["feature_rank_4d"].lowest == 2
    assert "near one point" in task.alarms["feature_std_4d"].message
    assert "near one line" in task.alarms["feature_rank_3d"].message


def test_table_6_variant_without_4d(batch):
    """ "4D data, 3D-3D only": one term, no 4D network anywhere."""
    config = tiny_config(**{"loss.weight_3d4d": 0.0, "loss.weight_4d": 0.0})
    task = pretrain.create_task(config)
    micro_batch = jax.tree.map(lambda a: jnp.asarray(a[0, 0]), batch)
    variables = jax.eval_shape(task.init, jax.random.key(0), micro_batch)
    output = jax.eval_shape(
        lambda v: task.loss(v, micro_batch, StepContext(0, None, None)), variables
    )
    assert set(task.weights) == set(output.terms) == {"loss_3d"}
    assert set(variables["params"]) == {"encoder_3d", "predictor_3d"}
    assert set(task.alarms) == {"feature_std_3d", "feature_rank_3d"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("loss.weight_3d", -1.0, "must not be negative"),
        ("loss.reduction", "mean", "config.loss.reduction: 'mean' is none of"),
        ("model.network_3d.planes", (4, 4), "2 planes"),
        ("model.network_3d.kernel_type", "sphere", "'sphere' is none of"),
        ("model.dtype", "float64", "config.model.dtype"),
    ],
)
def test_impossible_configs_are_told_before_compilation(key, value, message):
    with pytest.raises(ValueError, match=message):
        pretrain.create_task(tiny_config(**{key: value}))


def test_untrained_3d_encoder_is_refused():
    config = tiny_config(**{"loss.weight_3d": 0.0, "loss.weight_3d4d": 0.0})
    with pytest.raises(ValueError, match="nothing trains the 3D encoder"):
        pretrain.create_task(config)
