import numpy as np
import pytest

from fourdc_jax.data.sequences.object_size import SizeRange, draw_metric_object
from fourdc_jax.data.shape import Shape

SIZES = {"chair": SizeRange(height=(0.75, 1.0), width=(0.42, 0.65))}


def box(x, y, z, category="chair"):
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (500, 3)) * [x / 2, y / 2, z / 2]
    points[0], points[1] = [x / 2, y / 2, z / 2], [-x / 2, -y / 2, -z / 2]
    return Shape("box", category, (points + np.array([5, -3, 11])).astype(np.float32))


def draws(shape, count=60):
    return [draw_metric_object(shape, SIZES, np.random.default_rng(seed)) for seed in range(count)]


def test_height_and_width_are_in_the_categorys_ranges():
    things = draws(box(20, 18, 36))
    extents = np.array([np.ptp(thing.points, axis=0) for thing in things])
    assert (extents[:, 2] >= 0.75 - 1e-5).all()
    assert (extents[:, 2] <= 1.0 + 1e-5).all()
    assert (extents[:, :2].max(axis=1) >= 0.42 - 1e-5).all()
    assert (extents[:, :2].max(axis=1) <= 0.65 + 1e-5).all()
    assert np.ptp(extents[:, 2]) > 0.15  # drawn, not fixed
    np.testing.assert_allclose(extents / extents[:, 2:], [[20 / 36, 18 / 36, 1]] * 60, rtol=1e-4)


def test_the_width_decides_where_proportions_allow_no_common_size():
    for thing in draws(box(100, 50, 10), 10):  # a flat "chair": the width's upper end
        assert np.ptp(thing.points, axis=0)[0] == pytest.approx(0.65, abs=1e-5)
    for thing in draws(box(1, 1, 40), 10):  # a tall one: the width's lower end
        assert np.ptp(thing.points, axis=0)[0] == pytest.approx(0.42, abs=1e-5)


def test_origin_is_the_centre_of_the_bounding_sphere():
    for thing in draws(box(20, 18, 36), 5):
        half = np.ptp(thing.points, axis=0) / 2
        np.testing.assert_allclose(thing.points.max(axis=0), half, atol=1e-5)
        assert thing.radius == pytest.approx(np.linalg.norm(half), abs=1e-5)
        assert thing.bottom == pytest.approx(-half[2], abs=1e-5)


def test_errors_name_the_shape_and_the_category():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"'box'.*'piano'.*chair"):
        draw_metric_object(box(1, 1, 1, "piano"), SIZES, rng)
    for points in (np.zeros((5, 3)), np.zeros((0, 3)), np.full((3, 3), np.nan)):
        flat = Shape("flat", "chair", points.astype(np.float32))
        with pytest.raises(ValueError, match="'flat'"):
            draw_metric_object(flat, SIZES, rng)
