"""A furnished room, a shape and the configuration's values, for the tests of sequences."""

import numpy as np
import pytest
from fourdc_jax.configs.pretrain import get_config

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sequences.sequence import SequenceParams, prepare_scan
from fourdc_jax.data.shape import Shape
from fourdc_jax.params import read_params


def fill_box(rng, low, high, count):
    """Random points on the sides and the top of a box."""
    points = rng.uniform(low, high, (count, 3))
    face = rng.integers(0, 5, count)
    for axis in range(2):
        points[face == 2 * axis, axis] = low[axis]
        points[face == 2 * axis + 1, axis] = high[axis]
    points[face == 4, 2] = high[2]
    return points


def build_room(seed=0, floor=0.03, size=(4.0, 3.2), num_points=24_000):
    """A rectangular room with noise, walls, a table, a box, and a few points below the floor."""
    rng = np.random.default_rng(seed)
    count = num_points // 4
    ground = rng.uniform((0, 0, 0), (*size, 0), (2 * count, 3))
    walls = fill_box(rng, (0, 0, 0), (*size, 2.4), count)
    walls = walls[walls[:, 2] < 2.4]
    table = rng.uniform((0.2, 0.2, 0.7), (1.0, 0.9, 0.7), (count // 2, 3))
    chest = fill_box(rng, (size[0] - 0.6, 0.1, 0), (size[0] - 0.1, 0.6, 0.9), count // 2)
    points = np.concatenate([ground, walls, table, chest])
    points += rng.normal(0, 0.004, points.shape)
    stray = rng.uniform((0, 0, -1.5), (*size, -0.4), (5, 3))
    points = np.concatenate([points, stray]) + np.array([-1.3, 2.1, floor])
    return Scan(f"room_{seed}", points.astype(np.float32))


def build_shape(seed=0, category="chair", num_points=1500):
    """A box with a back: longer to the front than to the sides."""
    rng = np.random.default_rng(seed)
    seat = fill_box(rng, (-20, -15, 0), (20, 15, 22), num_points // 2)
    back = fill_box(rng, (-20, -15, 22), (-16, 15, 45), num_points - num_points // 2)
    points = rng.permutation(np.concatenate([seat, back]))
    return Shape(f"{category}_{seed}", category, points.astype(np.float32))


@pytest.fixture(scope="session")
def data_values():
    return get_config().data.to_dict()


@pytest.fixture(scope="session")
def params():
    return read_params(SequenceParams, get_config().sequence.to_dict(), "config.sequence")


@pytest.fixture(scope="session")
def room(params):
    return prepare_scan(build_room(), params)


@pytest.fixture(scope="session")
def rooms():
    """A source of three rooms; the last one is too small for anything to move."""
    scans = [build_room(0), build_room(1), build_room(2, size=(0.9, 0.8), num_points=4000)]
    return ListSource(scans)


@pytest.fixture(scope="session")
def shapes():
    return ListSource([build_shape(0), build_shape(1, "night_stand"), build_shape(2, "toilet")])


class ListSource(list):
    """Items in memory as a source."""

    @property
    def names(self):
        return [item.name for item in self]
