"""What a piece of furniture is, before it stands anywhere.

A piece stands on z = 0 with its footprint centred at the origin; its front, the side that faces the
room or the person who uses it, is +x, its width runs along y. All sizes are in metres.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from fourdc_jax.data.procedural.classes import BUILDING_CLASSES, CLUTTER
from fourdc_jax.data.procedural.solids import Mesh, Real, join

KNEE_HEIGHT = 0.58  # metres under a table or desk that are free for seats and knees


@dataclass(frozen=True)
class Part:
    """One annotated instance: a class name of `classes.CLASSES`, or `CLUTTER`."""

    name: str
    mesh: Mesh


@dataclass(frozen=True)
class Seat:
    """Place for a chair: the middle of an edge to sit at, and what fits there.

    `yaw` is where the sitting person looks; `depth` is how far a seat goes under the edge, `width`
    how wide the gap between the legs is.
    """

    x: Real
    y: Real
    yaw: Real
    width: Real
    depth: Real


@dataclass(frozen=True)
class Top:
    """Free horizontal surface for small things: middle, size and height."""

    x: Real
    y: Real
    depth: Real
    width: Real
    z: Real


@dataclass(frozen=True)
class Furniture:
    """Parts that move together, with the places they offer."""

    parts: tuple[Part, ...]
    seats: tuple[Seat, ...] = ()
    top: Top | None = None

    @property
    def mesh(self) -> Mesh:
        """All parts as one mesh."""
        return join([part.mesh for part in self.parts])

    @property
    def num_pieces(self) -> int:
        """Instances that are furniture: no clutter, no fixed part of the room."""
        return sum(p.name != CLUTTER and p.name not in BUILDING_CLASSES for p in self.parts)

    @property
    def bounds(self) -> Float64[np.ndarray, "2 3"]:
        """Lower and upper corner over all parts."""
        corners = np.stack([part.mesh.bounds for part in self.parts])
        return np.stack([corners[:, 0].min(0), corners[:, 1].max(0)])

    def moved(self, x: Real, y: Real, z: Real = 0.0, *, yaw: Real = 0.0) -> "Furniture":
        """Turned about z by `yaw` radians, then shifted."""
        parts = tuple(replace(p, mesh=p.mesh.moved(x, y, z, yaw=yaw)) for p in self.parts)
        return Furniture(parts)

    def centered(self) -> "Furniture":
        """Footprint centred at the origin, standing on z = 0; seats and top move along."""
        low, high = self.bounds
        x, y = -0.5 * (low + high)[:2]
        return Furniture(
            tuple(replace(p, mesh=p.mesh.moved(x, y, -low[2])) for p in self.parts),
            tuple(replace(s, x=s.x + x, y=s.y + y) for s in self.seats),
            self.top and replace(self.top, x=self.top.x + x, y=self.top.y + y),
        )


def single(
    name: str, meshes: list[Mesh], *, seats: tuple[Seat, ...] = (), top: Top | None = None
) -> Furniture:
    """Furniture that is one instance."""
    return Furniture((Part(name, join(meshes)),), seats, top).centered()
