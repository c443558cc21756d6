"""Quad meshes: the geometry that furniture and rooms are made of.

Nearly everything is a loft: a stack of closed rings joined by quads. A leg is two circles, a
cushion a few rounded rectangles, a bathtub some rings that go up outside and down inside. All
solids are closed with outward normals, so a camera may cull back faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64, Int

from fourdc_jax.data.geometry import rotation_about

Real = float | int
Pair = tuple[Real, Real]
Vector = tuple[Real, Real, Real]
Color = Vector | Float64[np.ndarray, "3"]
OPAQUE = 1.0  # every ray comes back


@dataclass(frozen=True)
class Mesh:
    """Convex quads, counter-clockwise seen from outside, in metres.

    They are planar, on rounded cushions to a few millimetres. A triangle repeats its last vertex.
    `colors` are RGB in [0, 1]; `returns` is the probability that a depth camera measures the
    surface at all (low for glass, mirrors, polished metal).
    """

    quads: Float64[np.ndarray, "q 4 3"]
    colors: Float64[np.ndarray, "q 3"]
    returns: Float64[np.ndarray, "q"]

    @property
    def bounds(self) -> Float64[np.ndarray, "2 3"]:
        """Lower and upper corner."""
        vertices = self.quads.reshape(-1, 3)
        return np.stack([vertices.min(0), vertices.max(0)])

    @property
    def normals(self) -> Float64[np.ndarray, "q 3"]:
        """Outward normals with the length of the quad's area."""
        v = self.quads
        return 0.5 * np.cross(v[:, 2] - v[:, 0], v[:, 3] - v[:, 1])

    @property
    def unit_normals(self) -> Float64[np.ndarray, "q 3"]:
        """Outward normals of length 1; 0 for a quad without area."""
        normals = self.normals
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    def moved(self, x: Real = 0.0, y: Real = 0.0, z: Real = 0.0, *, yaw: Real = 0.0) -> "Mesh":
        """Turned about z by `yaw` radians, then shifted."""
        turned = self.quads @ rotation_about("z", yaw).T
        return replace(self, quads=turned + np.array([x, y, z]))

    def turned(self, axis: str, angle: Real, pivot: Vector = (0.0, 0.0, 0.0)) -> "Mesh":
        """Turned by `angle` radians about the `axis` through `pivot`."""
        center = np.array(pivot)
        return replace(self, quads=(self.quads - center) @ rotation_about(axis, angle).T + center)

    def scaled(self, x: Real, y: Real, z: Real) -> "Mesh":
        """Stretched along the axes by positive factors."""
        return replace(self, quads=self.quads * np.array([x, y, z]))


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of all quads, in order."""
    return Mesh(
        np.concatenate([m.quads for m in meshes]),
        np.concatenate([m.colors for m in meshes]),
        np.concatenate([m.returns for m in meshes]),
    )


def painted(quads: Float64[np.ndarray, "q 4 3"], color: Color, returns: Real = OPAQUE) -> Mesh:
    """Quads of one colour."""
    count = len(quads)
    colors = np.broadcast_to(np.asarray(color, np.float64), (count, 3))
    return Mesh(quads, colors, np.full(count, returns))


def loft(rings: Float64[np.ndarray, "r s 3"], color: Color, returns: Real = OPAQUE) -> Mesh:
    """Closed solid through a stack of rings, each counter-clockwise seen from its far end.

    Where the rings turn back towards the start the solid has a cavity. `s` is even.
    """
    following = np.roll(rings, -1, axis=1)
    sides = np.stack([rings[:-1], following[:-1], following[1:], rings[1:]], axis=2)
    count = rings.shape[1]
    fan = np.stack([np.array([0, j, j + 1, j + 2]) for j in range(1, count - 2, 2)])  # [c, 4]
    caps = np.concatenate([rings[0, ::-1][fan], rings[-1][fan]])
    return painted(np.concatenate([sides.reshape(-1, 4, 3), caps]), color, returns)


def ring(
    size: Pair,
    z: Real,
    *,
    center: Pair = (0.0, 0.0),
    squareness: Real = 2.0,
    segments: int = 16,
) -> Float64[np.ndarray, "s 3"]:
    """Superellipse |x/a|^p + |y/b|^p = 1 at height z: p = 2 an ellipse, large p a rectangle."""
    angle = (np.arange(segments) + 0.5) * (2 * np.pi / segments)
    cos, sin = np.cos(angle), np.sin(angle)
    radius = (np.abs(cos) ** squareness + np.abs(sin) ** squareness) ** (-1 / squareness)
    x = center[0] + 0.5 * size[0] * radius * cos
    y = center[1] + 0.5 * size[1] * radius * sin
    return np.stack([x, y, np.full(segments, z)], axis=1)


_CORNERS = np.array(  # [6 faces, 4, 3], counter-clockwise from outside
    [
        [[-1, -1, -1], [-1, 1, -1], [1, 1, -1], [1, -1, -1]],
        [[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]],
        [[-1, -1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]],
        [[1, -1, -1], [1, 1, -1], [1, 1, 1], [1, -1, 1]],
        [[1, 1, -1], [-1, 1, -1], [-1, 1, 1], [1, 1, 1]],
        [[-1, 1, -1], [-1, -1, -1], [-1, -1, 1], [-1, 1, 1]],
    ],
    np.float64,
)


def boxes(
    sizes: Float[np.ndarray, "n 3"],
    centers: Float[np.ndarray, "n 3"],
    colors: Float[np.ndarray, "n 3"],
    returns: Real = OPAQUE,
) -> Mesh:
    """Axis-aligned boxes, one colour each."""
    quads = centers[:, None, None] + 0.5 * sizes[:, None, None] * _CORNERS  # [n, 6, 4, 3]
    return Mesh(
        quads.reshape(-1, 4, 3).astype(np.float64),
        np.repeat(colors, 6, axis=0).astype(np.float64),
        np.full(6 * len(sizes), returns),
    )


def box(
    size: Vector,
    base: Vector,
    color: Color,
    returns: Real = OPAQUE,
) -> Mesh:
    """Axis-aligned box whose bottom face is centred at `base`."""
    center = np.array([[base[0], base[1], base[2] + 0.5 * size[2]]], np.float64)
    return boxes(np.array([size], np.float64), center, np.asarray(color, np.float64)[None], returns)


def cylinder(
    radius: Real,
    height: Real,
    base: Vector,
    color: Color,
    *,
    top_radius: Real | None = None,
    segments: int = 16,
    returns: Real = OPAQUE,
) -> Mesh:
    """Upright cylinder, or truncated cone, standing at `base`."""
    top = radius if top_radius is None else top_radius
    x, y, z = base
    rings = [
        ring((2 * radius, 2 * radius), z, center=(x, y), segments=segments),
        ring((2 * top, 2 * top), z + height, center=(x, y), segments=segments),
    ]
    return loft(np.stack(rings), color, returns)


def rod(
    start: Vector,
    end: Vector,
    thickness: Real,
    color: Color,
    *,
    segments: int = 6,
    returns: Real = OPAQUE,
) -> Mesh:
    """Thin straight bar from one point to another."""
    a, b = np.array(start), np.array(end)
    along = (b - a) / np.linalg.norm(b - a)
    helper = np.array([1.0, 0.0, 0.0]) if abs(along[2]) > 0.7 else np.array([0.0, 0.0, 1.0])
    side = np.cross(helper, along)
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(along, side), along])  # rows: local axes
    circle = ring((thickness, thickness), 0.0, segments=segments) @ frame
    return loft(np.stack([circle + a, circle + b]), color, returns)


def cushion(
    size: Vector,
    base: Vector,
    color: Color,
    *,
    roundness: Real = 0.35,
    squareness: Real = 6.0,
) -> Mesh:
    """Box with rounded edges, bottom centred at `base`; `roundness` is the share of its height."""
    inset = roundness * size[2]
    steps = np.array([[1.0, 0.0], [0.3, 0.35], [0.0, 1.0]])  # inset, height of a quarter round
    profile = np.concatenate([steps, [[0.0, 1.0]], steps[::-1]])
    heights = np.concatenate(
        [steps[:, 1] * inset, [0.5 * size[2]], size[2] - inset * steps[::-1, 1]]
    )
    rings = [
        ring(
            (size[0] - 2 * inset * p, size[1] - 2 * inset * p),
            base[2] + h,
            center=(base[0], base[1]),
            squareness=squareness,
        )
        for p, h in zip(profile[:, 0], heights)
    ]
    return loft(np.stack(rings), color)


def vessel(
    outer: Sequence[Float64[np.ndarray, "s 3"]],
    inner: Sequence[Float64[np.ndarray, "s 3"]],
    color: Color,
    returns: Real = OPAQUE,
) -> Mesh:
    """Open container: `outer` rings from the bottom up, `inner` rings from the rim down."""
    return loft(np.stack([*outer, *inner]), color, returns)


def sheet(path: Float64[np.ndarray, "n 2"], z: Pair, thickness: Real, color: Color) -> Mesh:
    """Vertical cloth along a path in the plane, seen from both sides."""
    step = np.gradient(path, axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1)
    normal *= 0.5 * thickness / np.linalg.norm(normal, axis=1, keepdims=True)
    outline = np.concatenate([path - normal, (path + normal)[::-1]])  # [2 n, 2]
    following = np.roll(outline, -1, axis=0)
    low, high = z
    corners = [(outline, low), (following, low), (following, high), (outline, high)]
    quads = [np.column_stack([xy, np.full(len(xy), height)]) for xy, height in corners]
    return painted(np.stack(quads, axis=1), color)


def sample_surface(
    mesh: Mesh, count: int, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "p 3"], Int[np.ndarray, "p"]]:
    """Points distributed uniformly over the surface, and the quad of each."""
    v = mesh.quads
    triangles = np.concatenate([v[:, [0, 1, 2]], v[:, [0, 2, 3]]])  # [2 q, 3, 3]
    edges = triangles[:, 1:] - triangles[:, :1]
    cumulative = np.cumsum(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1))
    chosen = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    weights = rng.random((count, 2))
    flipped = weights.sum(1) > 1
    weights[flipped] = 1 - weights[flipped]
    points = triangles[chosen, 0] + np.einsum("pi,pij->pj", weights, edges[chosen])
    return points, chosen % len(v)
