"""Pictures of a 4D sequence: its frames, the moving object and tracks of single points."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes

from fourdc_jax.viz.figure import INK, MUTED, add_picture, add_text, new_figure, save
from fourdc_jax.viz.rendering.camera import Camera, check_points, cut_away, look_at_room, visible
from fourdc_jax.viz.rendering.render import render_points

TRACK_COLORS = (
    "#1f77d0", "#0b9e77", "#7b4fd6", "#00a3c4", "#3d52c9", "#5a9a1c", "#b14fc8", "#1c6e8c",
)  # fmt: skip
GAP = 12  # pixels between pictures


@dataclass(frozen=True)
class Tracks:
    """Positions of m chosen points in t frames; NaN where a point is absent."""

    positions: Float[np.ndarray, "m t 3"]
    moving: np.ndarray  # bool [m]: on the object


def draw_sequence(
    frames: Sequence[Float[np.ndarray, "_ 3"]],
    ids: Sequence[Int[np.ndarray, "_"]],
    num_scene_points: int,
    path: str | Path,
    *,
    title: str = "",
    object_tracks: int = 6,
    scene_tracks: int = 4,
    camera: Camera | None = None,
) -> Path:
    """Draw each frame and a composite of all of them, and write a .png.

    Numbers and colours of tracks agree in all pictures. The object's colour says the time: from
    yellow in the first frame to red in the last.

    Args:
      frames: points of each frame in metres, z up, before any augmentation of single frames.
      ids: identity of each point; below `num_scene_points` the scan, the rest the object.
      num_scene_points: number of points of the scan that ids refer to.
      path: the .png to write.
      title: one line over the pictures.
      object_tracks, scene_tracks: how many tracks to show.
      camera: of the frames' pictures, from `look_at_room`; None chooses the best corner.

    Raises:
      ValueError: no frames, lengths of frames and ids that differ, or a frame without the scan.
    """
    check_sequence(frames, ids, num_scene_points)
    camera = camera or sequence_camera(frames, ids, num_scene_points, width=560, height=420)
    tracks = choose_tracks(
        frames, ids, num_scene_points, camera,
        object_tracks=object_tracks, scene_tracks=scene_tracks,
    )  # fmt: skip
    columns = 2 if len(frames) > 1 else 1
    rows = -(-len(frames) // columns)
    height = rows * camera.height + (rows - 1) * GAP
    large = camera.resized(height)
    close = camera.zoomed(object_points(frames, ids, num_scene_points))
    header = 56 if title else 8
    left = columns * (camera.width + GAP) + GAP
    figure = new_figure(left + large.width + GAP, header + height + GAP)
    if title:
        add_text(figure, title, GAP + 6, 18, size=15)
    for i, (points, names) in enumerate(zip(frames, ids, strict=True)):
        image = frame_image(points, names, num_scene_points, close, time_color(i, len(frames)))
        x = GAP + (i % columns) * (camera.width + GAP)
        y = header + (i // columns) * (camera.height + GAP)
        axes = add_picture(figure, image, x, y)
        draw_tracks(axes, tracks, close, upto=i)
        label_frame(axes, f"frame {i}", time_color(i, len(frames)))
    axes = add_picture(figure, composite_image(frames, ids, num_scene_points, large), left, header)
    draw_trajectory(axes, frames, ids, num_scene_points, large)
    draw_tracks(axes, tracks, large, upto=len(frames) - 1)
    axes.text(14, 12, "all frames: trajectory and tracks", fontsize=12, color=MUTED, va="top")
    return save(figure, path)


def check_sequence(frames: Sequence, ids: Sequence, num_scene_points: int) -> None:
    """Raise ValueError unless frames and ids describe one drawable sequence."""
    if len(frames) == 0:
        raise ValueError("a sequence picture needs at least one frame, got none")
    if len(frames) != len(ids):
        raise ValueError(f"{len(frames)} frames but {len(ids)} arrays of ids")
    for i, (points, names) in enumerate(zip(frames, ids, strict=True)):
        check_points(points)
        if names.shape != (len(points),):
            raise ValueError(f"frame {i} has {len(points)} points but ids {list(names.shape)}")
        if (names >= num_scene_points).all():
            raise ValueError(f"frame {i} has no point of the scan (id < {num_scene_points})")


def sequence_camera(
    frames: Sequence[np.ndarray],
    ids: Sequence[np.ndarray],
    num_scene_points: int,
    *,
    width: int,
    height: int,
) -> Camera:
    """The view that shows most of the room and of the object in all frames."""
    scene, _ = merge_scene(frames, ids, num_scene_points)
    moving = object_points(frames, ids, num_scene_points)
    return look_at_room(scene, width=width, height=height, focus=moving)


def object_points(
    frames: Sequence[np.ndarray], ids: Sequence[np.ndarray], num_scene_points: int
) -> Float[np.ndarray, "n 3"]:
    """The object's points in all frames."""
    return np.concatenate([p[i >= num_scene_points] for p, i in zip(frames, ids)])


def merge_scene(
    frames: Sequence[np.ndarray], ids: Sequence[np.ndarray], num_scene_points: int
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "n"]]:
    """Points and ids of the scan that occur in some frame, each once."""
    points, names = np.concatenate(list(frames)), np.concatenate(list(ids))
    names, first = np.unique(names, return_index=True)
    scan = names < num_scene_points
    return points[first[scan]], names[scan]


def choose_tracks(
    frames: Sequence[np.ndarray],
    ids: Sequence[np.ndarray],
    num_scene_points: int,
    camera: Camera,
    *,
    object_tracks: int,
    scene_tracks: int,
) -> Tracks:
    """Well-spread points that occur in as many frames as possible; those of the scan in sight."""
    scene, scene_names = merge_scene(frames, ids, num_scene_points)
    drawn = cut_away(scene, camera)
    middle = np.abs(scene - np.median(scene, axis=0)) < 0.35 * np.ptp(scene, axis=0)
    in_sight = drawn & middle[:, :2].all(1) & visible(scene, camera, scene[drawn], tolerance=0.05)
    names, counts = np.unique(np.concatenate([np.unique(i) for i in ids]), return_counts=True)
    pools = [
        (names >= num_scene_points, object_tracks),
        (np.isin(names, scene_names[in_sight]), scene_tracks),
    ]
    positions = []  # of the object's tracks, then of the scan's
    for pool, wanted in pools:
        longest = counts[pool].max(initial=0)
        located = locate(frames, ids, names[pool & (counts == longest)])
        positions.append(located[farthest_points(np.nanmean(located, axis=1), wanted)])
    moving = np.repeat([True, False], [len(p) for p in positions])
    return Tracks(np.concatenate(positions), moving)


def locate(
    frames: Sequence[np.ndarray], ids: Sequence[np.ndarray], wanted: Int[np.ndarray, "m"]
) -> Float[np.ndarray, "m t 3"]:
    """Position of each wanted id in each frame, NaN where it is absent."""
    positions = np.full((len(wanted), len(frames), 3), np.nan)
    for i, (points, names) in enumerate(zip(frames, ids)):
        order = np.argsort(names, kind="stable")
        row = order[np.minimum(np.searchsorted(names, wanted, sorter=order), len(names) - 1)]
        there = names[row] == wanted
        positions[there, i] = points[row[there]]
    return positions


def farthest_points(points: Float[np.ndarray, "n 3"], count: int) -> Int[np.ndarray, "k"]:
    """Rows of at most `count` points, each as far as possible from those before; highest first."""
    if len(points) == 0 or count == 0:
        return np.zeros(0, np.int64)
    rows = [int(np.argmax(points[:, 2]))]
    distance = np.full(len(points), np.inf)
    for _ in range(min(count, len(points)) - 1):
        distance = np.minimum(distance, np.linalg.norm(points - points[rows[-1]], axis=1))
        rows.append(int(np.argmax(distance)))
    return np.array(rows)


def frame_image(
    points: np.ndarray, names: np.ndarray, num_scene_points: int, camera: Camera, color: np.ndarray
) -> UInt8[np.ndarray, "h w 3"]:
    """One frame: the scan as clay and the object in `color`."""
    moving = names >= num_scene_points
    return render_points(
        points[~moving],
        camera,
        highlight=points[moving],
        highlight_colors=np.broadcast_to(color, (moving.sum(), 3)),
    )


def composite_image(
    frames: Sequence[np.ndarray],
    ids: Sequence[np.ndarray],
    num_scene_points: int,
    camera: Camera,
) -> UInt8[np.ndarray, "h w 3"]:
    """The whole scan with the object of every frame, each in the colour of its time."""
    scene, _ = merge_scene(frames, ids, num_scene_points)
    objects = [p[i >= num_scene_points] for p, i in zip(frames, ids)]
    colors = [np.broadcast_to(time_color(i, len(frames)), o.shape) for i, o in enumerate(objects)]
    return render_points(
        scene, camera, highlight=np.concatenate(objects), highlight_colors=np.concatenate(colors)
    )


def time_color(frame: int, num_frames: int) -> Float[np.ndarray, "3"]:
    """Yellow for the first frame to dark red for the last."""
    return np.array(colormaps["YlOrRd"](0.32 + 0.5 * frame / max(1, num_frames - 1))[:3])


def draw_tracks(
    axes: Axes, tracks: Tracks, camera: Camera, *, upto: int, numbers: bool = True
) -> None:
    """Draw tracks from the first frame to frame `upto`: lines for the object, dots for the scan."""
    outline = [patheffects.withStroke(linewidth=3.2, foreground="white", alpha=0.85)]
    scale = camera.height / 900
    for track, (positions, moving) in enumerate(zip(tracks.positions, tracks.moving)):
        color = TRACK_COLORS[track % len(TRACK_COLORS)]
        there = np.isfinite(positions[: upto + 1, 0])
        if not there.any():
            continue
        x, y = camera.project(positions[: upto + 1][there])[0].T
        axes.plot(x, y, "-", color=color, linewidth=1.0 + 0.8 * scale, path_effects=outline)
        if moving:
            axes.plot(x, y, "o", color=color, markersize=2 + 2.5 * scale, markeredgecolor="white",
                      markeredgewidth=0.6)  # fmt: skip
        if not there[upto]:
            continue
        axes.plot(x[-1], y[-1], "o" if moving else "s", color=color, markersize=5 + 7 * scale,
                  markeredgecolor="white", markeredgewidth=1)  # fmt: skip
        if numbers:
            axes.text(x[-1], y[-1], str(track + 1), color="white", fontsize=4 + 4.5 * scale,
                      fontweight="bold", ha="center", va="center_baseline")  # fmt: skip


def draw_trajectory(
    axes: Axes,
    frames: Sequence[np.ndarray],
    ids: Sequence[np.ndarray],
    num_scene_points: int,
    camera: Camera,
) -> None:
    """Dashed line on the floor below the object's centre, from frame to frame."""
    objects = [p[i >= num_scene_points] for p, i in zip(frames, ids)]
    below = [(*(o.min(0) + o.max(0))[:2] / 2, o[:, 2].min()) for o in objects if len(o)]
    if below:
        x, y = camera.project(np.array(below))[0].T
        axes.plot(x, y, "--", color=INK, linewidth=1.4, dash_capstyle="round", alpha=0.8)
        axes.plot(x, y, "o", color=INK, markersize=3.5, alpha=0.8)


def label_frame(axes: Axes, text: str, color: np.ndarray) -> None:
    """Name a picture in its upper left corner, with a dot in the colour of its time."""
    axes.plot(20, 22, "o", color=tuple(color), markersize=9)
    halo = [patheffects.withStroke(linewidth=3, foreground="white", alpha=0.8)]
    axes.text(34, 22, text, fontsize=12, color=INK, va="center_baseline", path_effects=halo)
