"""Shapes and furniture: real sizes, closed solids, fronts towards +x."""

import inspect

import numpy as np
import pytest

from fourdc_jax.data.procedural import accessories, sanitary, seating, shapes, storage, tables
from fourdc_jax.data.procedural.beds import make_bed
from fourdc_jax.data.procedural.classes import CLASSES, CLUTTER

# Smallest and largest (depth, width, height) in metres of furniture one can buy.
EXTENTS = {
    "chair": ((0.3, 0.3, 0.4), (1.0, 1.05, 1.35)),
    "desk": ((0.55, 1.0, 0.68), (0.95, 1.8, 0.8)),
    "dresser": ((0.4, 0.75, 0.7), (0.65, 1.6, 1.25)),
    "night_stand": ((0.33, 0.35, 0.4), (0.55, 0.6, 0.7)),
    "sofa": ((0.75, 1.2, 0.7), (1.8, 2.6, 1.0)),
    "table": ((0.35, 0.37, 0.33), (1.3, 2.7, 0.8)),
    "bathtub": ((0.65, 1.4, 0.42), (0.9, 1.9, 0.8)),
    "toilet": ((0.6, 0.33, 0.6), (0.9, 0.5, 1.05)),
}
SEEDS = range(30)


@pytest.mark.parametrize("category", shapes.MAKERS)
def test_extents_are_those_of_real_furniture(category):
    low, high = EXTENTS[category]
    extents = np.stack(
        [np.ptp(shapes.make_furniture(category, s)[0].bounds, axis=0) for s in SEEDS]
    )
    assert (extents > low).all(), extents.min(0)
    assert (extents < high).all(), extents.max(0)
    assert (extents.std(0) > 0.01).all()  # no two alike


@pytest.mark.parametrize("category", shapes.MAKERS)
def test_points_stand_on_the_floor_and_repeat(category):
    shape = shapes.make_shape(category, 3, num_points=2000)
    again = shapes.make_shape(category, 3, num_points=2000)
    other = shapes.make_shape(category, 4, num_points=2000)
    assert shape.points.shape == (2000, 3)
    assert shape.points.dtype == np.float32
    np.testing.assert_array_equal(shape.points, again.points)
    assert not np.array_equal(shape.points, other.points)
    low, high = shape.points.min(0), shape.points.max(0)
    assert 0 <= low[2] < 0.02
    np.testing.assert_allclose((low + high)[:2] / 2, 0, atol=0.03)


def test_unknown_category_is_named():
    with pytest.raises(ValueError, match="'piano'"):
        shapes.make_shape("piano", 0)


@pytest.mark.parametrize("family", ["dining", "office", "armchair", "shell", "folding"])
def test_chairs_have_their_back_at_minus_x(family):
    for seed in range(10):
        chair = seating.make_chair(np.random.default_rng(seed), family)
        vertices = chair.mesh.quads.reshape(-1, 3)
        upper = vertices[vertices[:, 2] > 0.93 * chair.bounds[1, 2]]
        assert upper[:, 0].mean() < 0.4 * chair.bounds[0, 0]


def upper_half_x(category, seed):
    """Mean x of the upper third of a shape's surface, relative to half its depth."""
    points = shapes.make_shape(category, seed).points
    upper = points[points[:, 2] > 0.67 * points[:, 2].max()]
    return upper[:, 0].mean() / points[:, 0].max()


@pytest.mark.parametrize("category", ["sofa", "toilet"])
def test_backs_and_cisterns_are_at_minus_x(category):
    assert max(upper_half_x(category, s) for s in range(10)) < -0.3


@pytest.mark.parametrize("category", ["dresser", "night_stand"])
def test_handles_are_at_plus_x(category):
    """The frontmost surface is metal handles: a small part of the front's area."""
    for seed in range(10):
        mesh = shapes.make_furniture(category, seed)[0].mesh
        forward = mesh.normals[:, 0] > 1e-6
        x, area = mesh.quads[forward, :, 0].mean(1), mesh.normals[forward, 0]
        assert area[x > x.max() - 0.015].sum() < 0.5 * area.sum()
        backward = mesh.normals[:, 0] < -1e-6
        x, area = -mesh.quads[backward, :, 0].mean(1), -mesh.normals[backward, 0]
        assert area[x > x.max() - 0.015].sum() > 0.3 * area.sum()


def test_desk_user_sits_in_front():
    for seed in range(10):
        seat = tables.make_desk(np.random.default_rng(seed)).seats[0]
        assert seat.x > 0.25
        assert np.cos(seat.yaw) == pytest.approx(-1)
        assert seat.width > 0.3


def makers():
    """Every generator of the package, with the arguments it needs."""
    arguments = {
        "make_cabinet": ("tall",),
        "make_kitchen_counter": (2.5,),
        "make_shower_curtain": (1.6,),
        "make_curtain": (1.2, 0.1, 2.2),
        "make_panel": ("mirror", 1.0, 1.0),
        "make_window": (1.2, 1.1),
        "make_door": (0.9, 2.0, 0.6),
    }
    found = {"make_bed": make_bed}
    for module in (accessories, sanitary, seating, storage, tables):
        for name, maker in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("make_"):
                found[name] = maker
    return [pytest.param(m, arguments.get(n, ()), id=n) for n, m in sorted(found.items())]


@pytest.mark.parametrize(("make", "arguments"), makers())
def test_furniture_is_closed_and_known(make, arguments):
    for seed in range(4):
        furniture = make(np.random.default_rng(seed), *arguments)
        mesh = furniture.mesh
        assert {p.name for p in furniture.parts} <= {*CLASSES, CLUTTER}
        assert np.isfinite(mesh.quads).all()
        # Closed, but for sheets of cloth, which have no upper and lower edge.
        np.testing.assert_allclose(mesh.normals.sum(0), 0, atol=1e-9)
        assert ((mesh.colors >= 0) & (mesh.colors <= 1.3)).all()
        assert ((mesh.returns > 0) & (mesh.returns <= 1)).all()
        centroid = mesh.quads.mean((0, 1))
        volume = np.einsum("qvi,qi->", mesh.quads - centroid, mesh.normals) / 12
        assert volume > 0
