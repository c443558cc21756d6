"""The project's opening picture: a 4D sequence with its tracks beside learned features."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from fourdc_jax.viz.figure import add_picture, add_text, new_figure, save
from fourdc_jax.viz.pictures.features import feature_colors, features_image
from fourdc_jax.viz.pictures.sequence import (
    check_sequence,
    choose_tracks,
    composite_image,
    draw_tracks,
    draw_trajectory,
    frame_image,
    label_frame,
    merge_scene,
    object_points,
    sequence_camera,
    time_color,
)
from fourdc_jax.viz.rendering.camera import look_at_room

WIDTH, GAP, HEADER = 1920, 16, 46  # pixels


def draw_hero(
    frames: Sequence[Float[np.ndarray, "_ 3"]],
    ids: Sequence[Int[np.ndarray, "_"]],
    num_scene_points: int,
    points: Float[np.ndarray, "p 3"],
    features: Float[np.ndarray, "f c"],
    path: str | Path,
) -> Path:
    """Draw the frames in a row; below them the whole sequence and the features as colours.

    Args:
      frames, ids, num_scene_points: a sequence, as for `draw_sequence`.
      points, features: a scan and one learned feature a point.
      path: the picture to write; .jpg is about a fifth of the size of .png.

    Raises:
      ValueError: as `draw_sequence`, or features whose rows are not the points.
    """
    check_sequence(frames, ids, num_scene_points)
    if len(points) != len(features):
        raise ValueError(f"{len(features)} feature rows for {len(points)} points")
    t = len(frames)
    small = (WIDTH - (t + 1) * GAP) // t
    half = (WIDTH - 3 * GAP) // 2
    large_height = int(half * 0.72)
    camera = sequence_camera(frames, ids, num_scene_points, width=half, height=large_height)
    close = camera.resized(large_height * small // half)
    close = close.zoomed(object_points(frames, ids, num_scene_points))
    tracks = choose_tracks(frames, ids, num_scene_points, camera, object_tracks=6, scene_tracks=4)
    figure = new_figure(WIDTH, close.height + large_height + 2 * HEADER + 2 * GAP)
    add_text(figure, "A synthetic object moves through a scan: points are followed by identity",
             GAP + 4, 14, size=15)  # fmt: skip
    for i, (cloud, names) in enumerate(zip(frames, ids, strict=True)):
        color = time_color(i, t)
        image = frame_image(cloud, names, num_scene_points, close, color)
        axes = add_picture(figure, image, GAP + i * (small + GAP), HEADER)
        draw_tracks(axes, tracks, close, upto=i)
        label_frame(axes, f"t = {i}", color)
    top = HEADER + close.height + GAP + HEADER
    add_text(figure, "4D sequence and its tracks", GAP + 4, top - HEADER + 14, size=15)
    add_text(figure, "Learned 3D features (PCA as colours)", half + 2 * GAP + 4,
             top - HEADER + 14, size=15)  # fmt: skip
    axes = add_picture(figure, composite_image(frames, ids, num_scene_points, camera), GAP, top)
    draw_trajectory(axes, frames, ids, num_scene_points, camera)
    draw_tracks(axes, tracks, camera, upto=t - 1)
    scene, _ = merge_scene(frames, ids, num_scene_points)
    same_room = np.allclose(points.min(0), scene.min(0), atol=0.3) and np.allclose(
        points.max(0), scene.max(0), atol=0.3
    )
    view = camera if same_room else look_at_room(points, width=half, height=large_height)
    add_picture(figure, features_image(points, feature_colors(features), view), half + 2 * GAP, top)
    return save(figure, path)
