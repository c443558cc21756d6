"""Learned features of a scan as colours: their three main directions become red, green and blue."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fourdc_jax.viz.figure import MUTED, add_picture, add_text, new_figure, save
from fourdc_jax.viz.rendering.camera import Camera, check_points, look_at_room
from fourdc_jax.viz.rendering.render import render_points

GAP = 12  # pixels between pictures
HEADER = 44


def feature_colors(
    features: Float[np.ndarray, "n c"],
    *,
    align_to: Float[np.ndarray, "n 3"] | None = None,
    clip: float = 1.0,
) -> Float[np.ndarray, "n 3"]:
    """Colours in 0..1 from the principal components of the unit-length features.

    Features are normalised to length 1, as the losses compare them. Each of the first three
    components (PCA) is stretched so that its `clip` and 100 - `clip` percentiles become 0 and 1.
    Features that are all alike give plain grey, not amplified noise.

    Args:
      features: one row a point.
      align_to: colours of the same points from another checkpoint. Components have no order or
        sign of their own; with this they are rotated (orthogonal Procrustes) to agree as well as
        a rotation can.
      clip: percent of the values at either end that saturate.

    Raises:
      ValueError: no rows, or values that are not finite.
    """
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features must be [n, c] and not empty, got {list(features.shape)}")
    bad = int((~np.isfinite(features)).any(1).sum())
    if bad:
        raise ValueError(f"{bad} of {len(features)} feature rows are not finite")
    unit = features.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    unit -= unit.mean(0)
    variances, directions = np.linalg.eigh(unit.T @ unit / len(unit))  # ascending
    directions = directions[:, ::-1][:, :3]
    largest = np.abs(directions).argmax(0)
    directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    components = np.zeros((len(unit), 3))
    components[:, : directions.shape[1]] = unit @ directions
    if variances[-1] < 1e-12:
        return np.full((len(unit), 3), 0.5)
    if align_to is not None:
        scale = components.std(0)
        left, _, right = np.linalg.svd((components / (scale + 1e-12)).T @ (align_to - 0.5))
        components = components / (scale + 1e-12) @ (left @ right)
    low, high = np.percentile(components, [clip, 100 - clip], axis=0)
    stretched = (components - low) / np.maximum(high - low, 1e-12)
    return np.where(high - low > 1e-9, np.clip(stretched, 0, 1), 0.5)


def draw_features(
    points: Float[np.ndarray, "n 3"],
    features: Float[np.ndarray, "f c"] | Mapping[str, Float[np.ndarray, "_ c"]],
    path: str | Path,
    *,
    colors: np.ndarray | None = None,
    title: str = "",
    camera: Camera | None = None,
) -> Path:
    """Draw the input beside its features as colours, and write a .png.

    Args:
      points: the scan in metres, z up.
      features: one row a point, or several by name ("step 1000", "step 5000", ...): the colours
        of all are aligned to the last.
      path: the .png to write.
      colors: of the input picture, floats in 0..1 or uint8; None shows its geometry.
      title: one line over the pictures.
      camera: from `look_at_room`; None chooses the best corner.

    Raises:
      ValueError: a feature array whose rows are not the points.
    """
    named = features if isinstance(features, Mapping) else {"features (PCA)": features}
    check_points(points)
    if not named:
        raise ValueError("no features to draw")
    for name, values in named.items():
        if len(values) != len(points):
            raise ValueError(f"{name!r} has {len(values)} rows for {len(points)} points")
    camera = camera or look_at_room(points, width=760, height=570)
    last = feature_colors(list(named.values())[-1])
    pictures = {"input": render_points(points, camera, colors=colors)}
    for i, (name, values) in enumerate(named.items()):
        paint = last if i == len(named) - 1 else feature_colors(values, align_to=last)
        pictures[name] = features_image(points, paint, camera)
    header = HEADER if title else 4
    figure = new_figure(len(pictures) * (camera.width + GAP) + GAP, header + camera.height + GAP)
    if title:
        add_text(figure, title, GAP + 6, 14, size=14)
    for i, (name, image) in enumerate(pictures.items()):
        axes = add_picture(figure, image, GAP + i * (camera.width + GAP), header)
        axes.text(14, 10, name, fontsize=12, color=MUTED, va="top")
    return save(figure, path)


def features_image(
    points: Float[np.ndarray, "n 3"], paint: Float[np.ndarray, "n 3"], camera: Camera
) -> np.ndarray:
    """The scan in its feature colours, shaded a little so that edges stay legible."""
    return render_points(points, camera, colors=0.16 + 0.76 * paint, shading=0.6)
