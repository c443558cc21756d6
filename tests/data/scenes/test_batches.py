"""Batches of scenes: joined rows, one capacity for all, and the loader's endless stream."""

import logging as std_logging

import numpy as np
import pytest
from absl import logging
from fixtures.networks import STRIDES
from fixtures.scenes import AUGMENTATION, build_scene, build_source

from fourdc_jax.data.grids.capacity import SampleTooLarge, count_needed
from fourdc_jax.data.grids.grid import PAD_COORDINATE
from fourdc_jax.data.loader import Batches, LoaderParams
from fourdc_jax.data.scenes.augmentation import AugmentationParams
from fourdc_jax.data.scenes.batches import Maker, join_samples
from fourdc_jax.data.scenes.samples import VoxelParams
from fourdc_jax.params import read_params

VOXELS = VoxelParams(0.1, "color")
SCANS = build_source([build_scene(seed, 500 + 700 * seed) for seed in range(5)])
AMPLE = (20_000, 10_000, 5_000, 2_000, 1_000)


def make_maker(overflow="crop", seed=0, capacity=AMPLE):
    params = read_params(AugmentationParams, AUGMENTATION, "augmentation")
    return Maker(SCANS, VOXELS, params, STRIDES, seed, overflow, capacity)


MAKER = make_maker()


def samples(count=5):
    return [MAKER.make_sample(0, index) for index in range(count)]


def loader(maker, **changes):
    values = {"batch": 2, "local_devices": 1, "accumulate": 1}
    values |= {"process_index": 0, "process_count": 1, "num_workers": 0, "prefetch": 1}
    return Batches(maker, LoaderParams(**values | changes))


def take(batches, count):
    found = [next(batches) for _ in range(count)]
    batches.close()
    return found


def arrays(batch):
    return {**batch.grid._asdict(), "labels": batch.labels}


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for key, array in arrays(one).items():
            np.testing.assert_array_equal(array, arrays(other)[key], err_msg=key)


def test_a_batch_is_its_scenes_one_after_another():
    parts = samples(3)
    grid, labels = join_samples(parts, AMPLE)
    start = 0
    for index, part in enumerate(parts):
        rows = slice(start, start := start + part.size)
        assert (grid.coords[rows, 0] == index).all()
        np.testing.assert_array_equal(grid.coords[rows, 1:], part.grid.coords[:, 1:])
        np.testing.assert_array_equal(grid.features[rows], part.grid.features)
        np.testing.assert_array_equal(labels[rows], part.labels)
    assert grid.num_rows == start
    assert (grid.coords[start:] == PAD_COORDINATE).all()
    assert (grid.features[start:] == 0).all()
    assert (labels[start:] == 255).all()
    assert tuple(grid.needed) == count_needed(parts)
    assert (labels.shape, labels.dtype) == ((AMPLE[0],), np.int32)
    types = {key: (array.shape, array.dtype) for key, array in grid._asdict().items()}
    assert types == {
        "coords": ((AMPLE[0], 4), np.int32),
        "num_rows": ((), np.int32),
        "features": ((AMPLE[0], 3), np.float32),
        "needed": ((5,), np.int32),
    }


def test_the_largest_scenes_are_cropped_until_all_fit():
    parts = samples()
    whole = np.array([part.size for part in parts])
    tight = (int(0.6 * whole.sum()), *AMPLE[1:])
    batch, reports = MAKER.with_capacity(tight).join(parts)
    sizes = np.bincount(batch.grid.coords[: batch.grid.num_rows, 0])
    np.testing.assert_array_equal(sizes, np.minimum(whole, sizes.max()))
    assert 0.94 * tight[0] < sizes.sum() <= tight[0]
    assert [report.kept for report in reports] == (sizes / whole).tolist()
    assert [report.counts["cropped"] for report in reports] == (sizes < whole).tolist()
    assert [len(report.messages) for report in reports] == (sizes < whole).tolist()


def test_scenes_that_fit_are_joined_as_they_are():
    parts = samples()
    exact = count_needed(parts)
    batch, reports = make_maker("error", capacity=exact).join(parts)
    assert tuple(batch.grid.needed) == exact
    assert all(report.kept == 1 and not report.messages for report in reports)


def test_what_does_not_fit_is_an_error_that_names_the_scenes():
    parts = samples(2)
    strict = make_maker("error", capacity=(100, *AMPLE[1:]))
    message = r"\('scene_0', 'scene_1'\) need \(.* capacity is \(100, .*\.overflow to crop"
    with pytest.raises(SampleTooLarge, match=message):
        strict.join(parts)
    with pytest.raises(SampleTooLarge):
        make_maker(capacity=(1, 1, 1, 1, 1)).join(parts)


def test_no_scenes_are_refused():
    with pytest.raises(ValueError, match="no scenes"):
        Maker(build_source([]), VOXELS, MAKER.augmentation, STRIDES, 0, "crop")


def test_a_sample_depends_on_seed_epoch_and_index_alone():
    first, again = MAKER.make_sample(1, 2), make_maker().make_sample(1, 2)
    np.testing.assert_array_equal(first.grid.coords, again.grid.coords)
    for other in (make_maker().make_sample(0, 2), make_maker(seed=1).make_sample(1, 2)):
        assert first.name == other.name
        assert not np.array_equal(first.grid.coords, other.grid.coords)


def test_every_epoch_holds_every_scene_once_in_another_order():
    found = take(loader(MAKER, batch=1), 15)
    sizes = [int(batch.grid.num_rows[0, 0]) for batch in found]
    order = []
    for epoch in range(3):
        made = [MAKER.make_sample(epoch, index).size for index in range(5)]
        part = sizes[5 * epoch : 5 * epoch + 5]
        assert sorted(part) == sorted(made)
        order.append([made.index(size) for size in part])
    assert order[0] != order[1] or order[1] != order[2]


def test_resuming_equals_never_having_stopped_whoever_makes_the_batches():
    whole = take(loader(MAKER), 6)
    stopped = loader(MAKER)
    take(stopped, 2)
    resumed = loader(make_maker(), num_workers=1)
    resumed.set_state(stopped.get_state())
    assert_same(take(resumed, 4), whole[2:])
    assert whole[0].grid.coords.shape == (1, 1, AMPLE[0], 4)


def test_processes_share_the_scenes_of_a_step():
    whole = take(loader(MAKER, batch=1, local_devices=2), 3)
    parts = [take(loader(MAKER, batch=1, process_index=i, process_count=2), 3) for i in range(2)]
    for step in range(3):
        for process in range(2):
            own = arrays(parts[process][step])
            for key, array in arrays(whole[step]).items():
                np.testing.assert_array_equal(array[process], own[key][0])


def test_cropped_scenes_are_counted_and_named(caplog):
    logging.get_absl_logger().propagate = True
    tight = (int(0.6 * count_needed(samples())[0]), *AMPLE[1:])
    with caplog.at_level(std_logging.WARNING):
        batches = loader(make_maker(capacity=tight), batch=5)
        (batch,) = take(batches, 1)
    assert batch.grid.num_rows <= tight[0]
    assert 0 < batches.statistics["cropped"] < 5  # the small scenes stay whole
    assert set(batches.statistics) == {"samples", "cropped"}
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "cropped to" in line]) == batches.statistics["cropped"]
    assert any(line.startswith("scene 'scene_4' does not fit") for line in told)
