"""Batches of scenes: joined rows, one capacity for all, and the loader's endless stream."""

import logging as std_logging

import numpy as np
import pytest
from absl import logging
from fixtures.scenes import AUGMENTATION, build_scene, build_source
from hypothesis import given, settings
from hypothesis import strategies as st

from fourdc_jax.data.loader import Batches, LoaderParams
from fourdc_jax.data.scenes.augmentation import SceneAugmentationParams
from fourdc_jax.data.scenes.batches import (
    SceneMaker,
    SceneSamplingParams,
    collate_scenes,
    common_limit,
    count_needed,
    fit_scenes,
    holds,
)
from fourdc_jax.data.scenes.samples import SceneVoxelParams
from fourdc_jax.data.sequences.batches import PAD_COORDINATE, SampleTooLarge
from fourdc_jax.params import read_params

STRIDES = (2, 4, 8, 16)
VOXELS = SceneVoxelParams(0.1, STRIDES, "color")
SCANS = build_source([build_scene(seed, 500 + 700 * seed) for seed in range(5)])
AMPLE = (20_000, 10_000, 5_000, 2_000, 1_000)


def make_maker(overflow="crop", seed=0):
    params = read_params(SceneAugmentationParams, AUGMENTATION, "augmentation")
    return SceneMaker(SCANS, VOXELS, params, SceneSamplingParams(seed, overflow))


MAKER = make_maker()


def samples(count=5):
    return [MAKER.make_sample(0, index, None) for index in range(count)]


def loader(maker, capacity, **changes):
    values = {"batch": 2, "local_devices": 1, "accumulate": 1, "in_channels": 3}
    values |= {"process_index": 0, "process_count": 1, "num_workers": 0, "prefetch": 1}
    return Batches(maker, capacity, LoaderParams(**values | changes))


def take(batches, count):
    found = [next(batches) for _ in range(count)]
    batches.close()
    return found


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert set(one) == set(other) == {"coords", "num_rows", "features", "labels"}
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_a_batch_is_its_scenes_one_after_another():
    parts = samples(3)
    batch = collate_scenes(parts, AMPLE)
    start = 0
    for index, part in enumerate(parts):
        rows = slice(start, start := start + len(part.coords))
        assert (batch["coords"][rows, 0] == index).all()
        np.testing.assert_array_equal(batch["coords"][rows, 1:], part.coords)
        np.testing.assert_array_equal(batch["features"][rows], part.features)
        np.testing.assert_array_equal(batch["labels"][rows], part.labels)
    assert batch["num_rows"] == start
    assert (batch["coords"][start:] == PAD_COORDINATE).all()
    assert (batch["features"][start:] == 0).all()
    assert (batch["labels"][start:] == 255).all()
    types = {key: (array.shape, array.dtype) for key, array in batch.items()}
    assert types == {
        "coords": ((AMPLE[0], 4), np.int32),
        "num_rows": ((), np.int32),
        "features": ((AMPLE[0], 3), np.float32),
        "labels": ((AMPLE[0],), np.int32),
    }


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12), st.floats(0, 1, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_the_common_limit_is_the_largest(sizes, share):
    sizes = np.array(sizes)
    budget = max(int(share * sizes.sum()), len(sizes) - 1)
    if budget >= sizes.sum():
        budget = int(sizes.sum()) - 1
    limit = common_limit(sizes, budget)
    assert np.minimum(sizes, limit).sum() <= budget < np.minimum(sizes, limit + 1).sum()


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_cropping_takes_from_the_largest_until_every_level_fits(level, share):
    parts = samples()
    needed = count_needed(parts)
    capacity = tuple(
        max(int(rows * share), 5) if at == level else rows for at, rows in enumerate(needed)
    )
    fitted = fit_scenes(parts, capacity, STRIDES, crop=True)
    assert holds(capacity, count_needed(fitted))
    sizes = np.array([len(part.coords) for part in fitted])
    whole = np.array([len(part.coords) for part in parts])
    limit = sizes.max()
    np.testing.assert_array_equal(sizes, np.minimum(whole, limit))
    if level == 0:
        assert sizes.sum() > 0.94 * capacity[0]  # little more than needed is cropped


def test_what_fits_is_left_as_it_is():
    parts = samples()
    assert fit_scenes(parts, count_needed(parts), STRIDES, crop=False) is parts


def test_what_does_not_fit_is_an_error_that_names_the_scenes():
    parts = samples(2)
    with pytest.raises(SampleTooLarge, match=r"'scene_0', 'scene_1': \(.*the capacity .*\(100, "):
        fit_scenes(parts, (100, *AMPLE[1:]), STRIDES, crop=False)
    with pytest.raises(SampleTooLarge):
        fit_scenes(parts, (1, 1, 1, 1, 1), STRIDES, crop=True)
    with pytest.raises(SampleTooLarge, match="'scene_4': "):
        make_maker("error").make_sample(0, 4, (100, *AMPLE[1:]))


def test_a_network_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="takes 1 channels, features 'color' have 3"):
        MAKER.join(samples(2), AMPLE, in_channels=1)


def test_no_scenes_are_refused():
    with pytest.raises(ValueError, match="no scenes"):
        SceneMaker(build_source([]), VOXELS, MAKER.augmentation, MAKER.sampling)


def test_a_sample_depends_on_seed_epoch_and_index_alone():
    first, again = MAKER.make_sample(1, 2, AMPLE), make_maker().make_sample(1, 2, AMPLE)
    np.testing.assert_array_equal(first.coords, again.coords)
    others = (
        make_maker().make_sample(0, 2, AMPLE),
        make_maker(seed=1).make_sample(1, 2, AMPLE),
    )
    for other in others:
        assert first.name == other.name
        assert not np.array_equal(first.coords, other.coords)


def test_every_epoch_holds_every_scene_once_in_another_order():
    found = take(loader(MAKER, AMPLE, batch=1), 15)
    sizes = [int(batch["num_rows"][0, 0]) for batch in found]
    order = []
    for epoch in range(3):
        made = [len(MAKER.make_sample(epoch, index, None).coords) for index in range(5)]
        part = sizes[5 * epoch : 5 * epoch + 5]
        assert sorted(part) == sorted(made)
        order.append([made.index(size) for size in part])
    assert order[0] != order[1] or order[1] != order[2]


def test_resuming_equals_never_having_stopped_whoever_makes_the_batches():
    whole = take(loader(MAKER, AMPLE), 6)
    stopped = loader(MAKER, AMPLE)
    take(stopped, 2)
    resumed = loader(make_maker(), AMPLE, num_workers=1)
    resumed.set_state(stopped.get_state())
    assert_same(take(resumed, 4), whole[2:])
    assert whole[0]["coords"].shape == (1, 1, AMPLE[0], 4)


def test_processes_share_the_scenes_of_a_step():
    whole = take(loader(MAKER, AMPLE, batch=1, local_devices=2), 3)
    parts = [
        take(loader(MAKER, AMPLE, batch=1, process_index=i, process_count=2), 3) for i in range(2)
    ]
    for step in range(3):
        for process in range(2):
            for key, array in whole[step].items():
                np.testing.assert_array_equal(array[process], parts[process][step][key][0])


def test_cropped_scenes_are_counted_and_named(caplog):
    logging.get_absl_logger().propagate = True
    tight = (int(0.6 * count_needed(samples(5))[0]), *AMPLE[1:])
    with caplog.at_level(std_logging.WARNING):
        batches = loader(MAKER, tight, batch=5)
        (batch,) = take(batches, 1)
    assert batch["num_rows"] <= tight[0]
    assert 0 < batches.statistics.cropped < 5  # the small scenes stay whole
    assert batches.statistics.rejected == 0
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "is larger than" in line]) == batches.statistics.cropped
    assert any(line.startswith("scene 'scene_4' is larger than the capacity") for line in told)
