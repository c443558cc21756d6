"""Solids are closed, oriented outwards, and sampled uniformly."""

import numpy as np
import pytest

from fourdc_jax.data.procedural import solids

GREY = (0.5, 0.5, 0.5)


def signed_volume(mesh):
    """Divergence theorem over the two triangles of every quad."""
    v = mesh.quads
    triangles = np.concatenate([v[:, [0, 1, 2]], v[:, [0, 2, 3]]])
    return np.einsum("ti,ti->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6


def polygon_area(radius, segments):
    return 0.5 * segments * radius**2 * np.sin(2 * np.pi / segments)


SOLIDS = {
    "box": (solids.box((1, 2, 3), (4, 5, 6), GREY), 6.0),
    "cylinder": (solids.cylinder(0.5, 2, (1, 1, 1), GREY, segments=12), 2 * polygon_area(0.5, 12)),
    "cone": (
        solids.cylinder(1, 3, (0, 0, 0), GREY, top_radius=0.5, segments=16),
        polygon_area(1, 16) * 3 * (1 + 0.5 + 0.25) / 3,
    ),
    "rod": (solids.rod((0, 0, 0), (1, 2, 2), 0.2, GREY), 3 * polygon_area(0.1, 6)),
    "upright rod": (solids.rod((0, 0, 2), (0, 0, 0), 0.2, GREY), 2 * polygon_area(0.1, 6)),
    "vessel": (
        solids.vessel(
            [solids.ring((2, 2), z) for z in (0, 1)],
            [solids.ring((1, 1), z) for z in (1, 0.5)],
            GREY,
        ),
        polygon_area(1, 16) - 0.5 * polygon_area(0.5, 16),
    ),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_volume_and_closure(name):
    mesh, volume = SOLIDS[name]
    assert signed_volume(mesh) == pytest.approx(volume, rel=1e-9)
    np.testing.assert_allclose(mesh.normals.sum(0), 0, atol=1e-12)


def test_cushion_lies_inside_its_box_and_fills_most_of_it():
    mesh = solids.cushion((0.6, 0.5, 0.1), (1, 2, 3), GREY)
    low, high = mesh.bounds
    assert (low >= np.array([0.7, 1.75, 3]) - 1e-12).all()
    assert (high <= np.array([1.3, 2.25, 3.1]) + 1e-12).all()
    assert 0.8 < signed_volume(mesh) / 0.03 < 1.0


def test_sheet_is_seen_from_both_sides():
    path = np.stack([np.linspace(0, 1, 5), np.zeros(5)], axis=1)
    normals = solids.sheet(path, (0, 1), 0.01, GREY).normals
    assert normals[normals[:, 1] > 0.1].sum() == pytest.approx(1.0)
    assert normals[normals[:, 1] < -0.1].sum() == pytest.approx(-1.0)


def test_moving_and_turning():
    mesh = solids.box((1, 1, 1), (1, 0, 0), GREY)
    turned = mesh.moved(10, 0, 5, yaw=0.5 * np.pi)
    np.testing.assert_allclose(turned.bounds, [[9.5, 0.5, 5], [10.5, 1.5, 6]], atol=1e-12)
    leant = solids.box((0.1, 0.1, 1), (0, 0, 0), GREY).turned("y", -0.2)
    assert leant.quads[..., 0].min() < -0.2 < 0.1 < leant.quads[..., 2].max()
    assert signed_volume(mesh.scaled(1, 2, 3)) == pytest.approx(6)


def test_sampling_is_uniform_over_area():
    mesh = solids.join(
        [solids.box((2, 1, 0.5), (0, 0, 0), GREY), solids.cylinder(0.3, 1, (5, 0, 0), GREY)]
    )
    count = 40_000
    points, quad = solids.sample_surface(mesh, count, np.random.default_rng(0))
    area = np.linalg.norm(mesh.normals, axis=1)
    expected = count * area / area.sum()
    chi_square = ((np.bincount(quad, minlength=len(area)) - expected) ** 2 / expected).sum()
    degrees = len(area) - 1
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)
    offset = np.einsum("pi,pi->p", points - mesh.quads[quad, 0], mesh.unit_normals[quad])
    np.testing.assert_allclose(offset, 0, atol=1e-12)
    top = points[quad == 1]  # the box's upper face: uniform in its plane
    assert abs(top[:, 0].mean()) < 0.05
    assert top[:, 0].std() == pytest.approx(2 / np.sqrt(12), rel=0.03)
