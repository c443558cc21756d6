"""Metric size of a synthetic object, after its category, and its bounding sphere."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from fourdc_jax.data.shape import Shape


@dataclass(frozen=True)
class SizeRange:
    """Real sizes of a furniture category in metres, each a (smallest, largest) pair.

    `height` is the vertical side of the bounding box, `width` the longer horizontal one.
    """

    height: tuple[float, float]
    width: tuple[float, float]


@dataclass(frozen=True)
class MetricObject:
    """An object in metres, upright, its front facing +x, its bounding sphere centred at 0.

    `bottom` is the height of its lowest point below the sphere's centre (negative).
    """

    points: Float32[np.ndarray, "p 3"]
    radius: float
    bottom: float


def draw_metric_object(
    shape: Shape, sizes: Mapping[str, SizeRange], rng: np.random.Generator
) -> MetricObject:
    """Scales a shape, whose file has no metric unit, to a size that its category has in homes.

    One factor for all axes, so that the proportions stay: it is drawn uniformly such that the
    height lies in the category's range, then limited so that the width does too. Where the
    shape's proportions allow no factor for both, the width decides: it limits where the object
    can stand.

    Raises:
      ValueError: the category has no size range, or the shape has no extent.
    """
    if shape.category not in sizes:
        raise ValueError(
            f"shape {shape.name!r}: no metric size for category {shape.category!r}; "
            f"sizes are given for {', '.join(sorted(sizes))}"
        )
    points = shape.points
    extent = np.ptp(points, axis=0) if len(points) else np.zeros(3)
    if not np.isfinite(extent).all() or extent[2] <= 0 or extent[:2].max() <= 0:
        raise ValueError(f"shape {shape.name!r}: extent {extent.tolist()} cannot be scaled")
    size = sizes[shape.category]
    factor = rng.uniform(*size.height) / extent[2]
    factor = np.clip(factor, *(np.asarray(size.width) / extent[:2].max()))
    center = (points.min(axis=0).astype(np.float64) + points.max(axis=0)) / 2
    metric = ((points - center) * factor).astype(np.float32)
    return MetricObject(
        points=metric,
        radius=float(np.sqrt(np.square(metric.astype(np.float64)).sum(axis=1).max())),
        bottom=float(metric[:, 2].min()),
    )
