"""Any network over any scene: whole, in tiles, within the memory there is, and turned."""

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.scenes import build_scene

from fourdc_jax.data.scenes.capacity import CapacityParams
from fourdc_jax.data.scenes.samples import VoxelParams
from fourdc_jax.tasks.shared import scenes
from fourdc_jax.tasks.shared.scenes import SceneGrid, SceneInference, mean_over_turns, turn
from fourdc_jax.train import memory

VOXELS = VoxelParams(0.25, "color")
GRID = SceneGrid(VOXELS, ((2, 2, 2),), CapacityParams(1, 1.0, 8, (), 2.0), (64, 64))


def describe(variables, batch, rows):
    """A network that sees single voxels: where each is, and the scaled feature."""
    assert len(batch.grid.coords) == rows[0]
    return {"place": batch.grid.coords[:, 1:], "value": variables["scale"] * batch.grid.features}


def infer(max_rows=None):
    return SceneInference(describe, GRID, margin=1, max_rows=max_rows)


VARIABLES = {"scale": jnp.float32(3)}


def test_points_have_what_their_voxels_have():
    scan = build_scene(0, 3000)
    inference = infer()
    values, rows = inference.run(VARIABLES, scan)
    assert len(values["place"]) == len(values["value"]) == rows.max() + 1
    points = inference.run_points(VARIABLES, scan)
    np.testing.assert_array_equal(points["place"], np.floor(scan.points / 0.25 + 1e-6))
    np.testing.assert_array_equal(points["value"], values["value"][rows])
    assert points["value"].dtype == np.float32
    mean = np.stack([np.bincount(rows, c) for c in scan.colors.T], axis=1)
    mean /= np.bincount(rows)[:, None]
    np.testing.assert_allclose(values["value"], 3 * (mean / 255 - 0.5), atol=1e-5)


@pytest.mark.parametrize("max_rows", [60, 200])
def test_tiles_together_are_the_whole_scene(max_rows):
    scan = build_scene(1, 6000)
    whole, tiled = (infer(rows).run_points(VARIABLES, scan) for rows in (None, max_rows))
    for name in ("place", "value"):
        np.testing.assert_array_equal(tiled[name], whole[name], strict=True)


def test_tiles_shrink_until_they_fit_into_memory(monkeypatch, caplog):
    monkeypatch.setattr(scenes, "LEAST_ROWS", 50)
    rooms = iter([100, 100] + [10**12] * 1000)  # bytes left when a program is about to run
    monkeypatch.setattr(memory, "free_bytes", lambda device: next(rooms))
    scan, inference = build_scene(1, 6000), infer()
    values, _ = inference.run(VARIABLES, scan)
    assert inference.max_rows == len(values["place"]) // 2 // 2
    assert caplog.text.count("do not fit into memory") == 2
    np.testing.assert_array_equal(values["place"], infer().run(VARIABLES, scan)[0]["place"])


def test_scenes_of_similar_size_share_a_program():
    inference = infer()
    for seed in range(3):
        inference.run(VARIABLES, build_scene(seed, 3000))
    assert len(inference._programs) == 1
    inference.run(VARIABLES, build_scene(0, 100))
    assert len(inference._programs) == 2


def test_a_turned_scan_keeps_its_middle():
    scan = build_scene(11, 500)
    quarter = turn(scan, np.pi / 2)
    center = (scan.points.min(axis=0) + scan.points.max(axis=0)) / 2
    offset, turned = scan.points - center, quarter.points - center
    expected = np.stack([-offset[:, 1], offset[:, 0], offset[:, 2]], axis=1)
    np.testing.assert_allclose(turned, expected, atol=1e-5)


def test_the_mean_is_that_of_equal_turns():
    scan = build_scene(12, 500)
    by_hand = [turn(scan, angle).points for angle in (2 * np.pi / 3, 4 * np.pi / 3)]
    expected = (scan.points + by_hand[0] + by_hand[1]) / np.float32(3)
    got = mean_over_turns(lambda turned: turned.points.copy(), scan, 3)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_array_equal(mean_over_turns(lambda s: s.points.copy(), scan, 1), scan.points)
