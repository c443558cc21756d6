"""Floor plans: a counter-clockwise polygon, its walls with openings, its floor."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from fourdc_jax.data.procedural.solids import OPAQUE, Color, Mesh, Pair, Real, boxes, join, painted

KINDS = ("rectangle", "L", "alcove", "chimney", "cut corner", "T")


@dataclass(frozen=True)
class Opening:
    """Rectangular hole in a wall: interval along it and heights, in metres."""

    start: Real
    stop: Real
    low: Real
    high: Real


def make_outline(
    kind: str, width: Real, depth: Real, rng: np.random.Generator
) -> Float64[np.ndarray, "v 2"]:
    """Counter-clockwise corners of a room of about `width` x `depth`, centred at the origin."""
    w, d = width, depth
    if kind == "rectangle":
        corners = [(0, 0), (w, 0), (w, d), (0, d)]
    elif kind == "L":
        x, y = w * rng.uniform(0.5, 0.7), d * rng.uniform(0.5, 0.7)
        corners = [(0, 0), (w, 0), (w, y), (x, y), (x, d), (0, d)]
    elif kind == "alcove":
        a, b, out = w * rng.uniform(0.1, 0.3), w * rng.uniform(0.6, 0.9), rng.uniform(0.5, 1.2)
        corners = [(0, 0), (w, 0), (w, d), (b, d), (b, d + out), (a, d + out), (a, d), (0, d)]
    elif kind == "chimney":
        a = w * rng.uniform(0.2, 0.6)
        b, into = a + rng.uniform(0.4, 1.0), rng.uniform(0.2, 0.4)
        corners = [(0, 0), (w, 0), (w, d), (b, d), (b, d - into), (a, d - into), (a, d), (0, d)]
    elif kind == "cut corner":
        x, y = rng.uniform(0.6, 1.2, 2)
        corners = [(0, 0), (w, 0), (w, d - y), (w - x, d), (0, d)]
    elif kind == "T":
        a, b, y = (
            w * rng.uniform(0.12, 0.22),
            w * rng.uniform(0.78, 0.88),
            d * rng.uniform(0.6, 0.7),
        )
        corners = [(a, 0), (b, 0), (b, d - y), (w, d - y), (w, d), (0, d), (0, d - y), (a, d - y)]
    else:
        raise ValueError(f"room plan must be one of {', '.join(KINDS)}, got {kind!r}")
    outline = np.array(corners, np.float64)
    outline -= 0.5 * (outline.min(0) + outline.max(0))
    if rng.random() < 0.5:
        outline = (outline * [-1, 1])[::-1]
    for _ in range(int(rng.integers(4))):
        outline = outline[:, ::-1] * [-1, 1]
    return np.ascontiguousarray(outline)


def contains(
    outline: Float64[np.ndarray, "v 2"], points: Float64[np.ndarray, "p 2"]
) -> Bool[np.ndarray, "p"]:
    """Whether points lie inside the polygon (even-odd rule)."""
    a, b = outline, np.roll(outline, -1, axis=0)
    x, y = points[:, :1], points[:, 1:]
    straddles = (a[:, 1] > y) != (b[:, 1] > y)
    rise = np.where(a[:, 1] == b[:, 1], 1.0, b[:, 1] - a[:, 1])
    crossing = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise
    return (straddles & (x < crossing)).sum(1) % 2 == 1


@dataclass(frozen=True)
class Wall:
    """One side of the plan, seen from inside: from `start` along `yaw` - 90 degrees.

    `yaw` is the direction of the inward normal.
    """

    start: Float64[np.ndarray, "2"]
    length: Real
    yaw: Real

    def at(self, along: Real, out: Real = 0.0) -> Pair:
        """Point at a distance along the wall and out of it into the room."""
        direction = np.array([np.sin(self.yaw), -np.cos(self.yaw)])
        normal = np.array([np.cos(self.yaw), np.sin(self.yaw)])
        x, y = self.start + along * direction + out * normal
        return float(x), float(y)


def walls_of(outline: Float64[np.ndarray, "v 2"]) -> list[Wall]:
    """The sides of a counter-clockwise outline."""
    steps = np.roll(outline, -1, axis=0) - outline
    lengths = np.linalg.norm(steps, axis=1)
    yaws = np.arctan2(steps[:, 0], -steps[:, 1])  # of the left-hand normal (-dy, dx)
    return [Wall(o, float(n), float(a)) for o, n, a in zip(outline, lengths, yaws)]


def wall_mesh(wall: Wall, openings: list[Opening], height: Real, color: Color) -> Mesh:
    """The wall's inner face without its openings, their reveals, and a skirting board."""
    cuts_s = np.unique([0.0, wall.length, *[v for o in openings for v in (o.start, o.stop)]])
    cuts_z = np.unique([0.0, height, *[v for o in openings for v in (o.low, o.high)]])
    s0, z0 = np.meshgrid(cuts_s[:-1], cuts_z[:-1], indexing="ij")
    s1, z1 = np.meshgrid(cuts_s[1:], cuts_z[1:], indexing="ij")
    solid = np.ones(s0.shape, bool)
    for o in openings:
        solid &= ~((s0 >= o.start) & (s1 <= o.stop) & (z0 >= o.low) & (z1 <= o.high))
    s0, s1, z0, z1 = s0[solid], s1[solid], z0[solid], z1[solid]
    # In the wall's frame x is out of the wall and -y is along it.
    flat = np.zeros_like(s0)
    corners = [(flat, -s1, z0), (flat, -s0, z0), (flat, -s0, z1), (flat, -s1, z1)]
    face = painted(np.stack([np.stack(c, axis=1) for c in corners], axis=1), color)
    parts = [face, *[_reveal(o, color) for o in openings]]
    doors = sorted([(o.start, o.stop) for o in openings if o.low == 0.0])
    ends = [0.0, *[v for span in doors for v in span], wall.length]
    spans = np.array(ends).reshape(-1, 2)
    sizes = np.stack(
        [np.full(len(spans), 0.012), spans[:, 1] - spans[:, 0], np.full(len(spans), 0.07)], 1
    )
    centers = np.stack([sizes[:, 0] / 2, -spans.mean(1), sizes[:, 2] / 2], axis=1)
    skirting = np.clip(np.asarray(color) * 1.05, 0, 1)
    parts.append(boxes(sizes, centers, np.tile(skirting, (len(spans), 1))))
    return join(parts).moved(*wall.start, yaw=wall.yaw)


def _reveal(opening: Opening, color: Color, depth: Real = 0.15) -> Mesh:
    """The four inner sides of a hole in the wall, seen from inside it."""
    a, b, low, high = -opening.stop, -opening.start, opening.low, opening.high
    loop = np.array([(a, low), (b, low), (b, high), (a, high)])
    following = np.roll(loop, -1, axis=0)
    front, back = np.zeros(4), np.full(4, -depth)
    corners = [
        np.column_stack([back, loop]),
        np.column_stack([front, loop]),
        np.column_stack([front, following]),
        np.column_stack([back, following]),
    ]
    return painted(np.stack(corners, axis=1), color)


def floor_mesh(
    outline: Float64[np.ndarray, "v 2"], margin: Real, rng: np.random.Generator, color: Color
) -> Mesh:
    """Tiles or planks of slightly different shade over the plan's bounding rectangle and a margin.

    What lies behind a wall is hidden by it, except through an open door.
    """
    low, high = outline.min(0) - margin, outline.max(0) + margin
    counts = np.maximum(np.round((high - low) / rng.uniform(0.3, 1.2, 2)), 1).astype(int)
    x = np.linspace(low[0], high[0], counts[0] + 1)
    y = np.linspace(low[1], high[1], counts[1] + 1)
    x0, y0 = (v.ravel() for v in np.meshgrid(x[:-1], y[:-1], indexing="ij"))
    x1, y1 = (v.ravel() for v in np.meshgrid(x[1:], y[1:], indexing="ij"))
    corners = [
        np.stack([a, b, np.zeros_like(a)], 1) for a, b in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    ]
    shade = 1 + 0.06 * rng.standard_normal((len(x0), 1))
    colors = np.clip(np.asarray(color) * shade, 0, 1)
    return Mesh(np.stack(corners, axis=1), colors, np.full(len(x0), OPAQUE))
