"""Where things may stand: oriented prisms that must not overlap, placements that respect them."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64

from fourdc_jax.data.procedural.furniture import KNEE_HEIGHT, Furniture, Seat
from fourdc_jax.data.procedural.plan import Opening, Wall, contains, walls_of

# A prism is an upright box: x, y, half depth, half width, yaw, low, high.
Prisms = Float64[np.ndarray, "k 7"]


def prism_of(furniture: Furniture, poses: Float64[np.ndarray, "n 3"], z: float = 0.0) -> np.ndarray:
    """Prism around a piece at each pose (x, y, yaw), standing at height z."""
    low, high = furniture.bounds
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    ones = np.ones(len(poses))
    x = poses[:, 0] + cos * middle[0] - sin * middle[1]
    y = poses[:, 1] + sin * middle[0] + cos * middle[1]
    sides = [x, y, half[0] * ones, half[1] * ones, poses[:, 2]]
    return np.stack([*sides, (low[2] + z) * ones, (high[2] + z) * ones], axis=1)


def overlaps(a: Prisms, b: Float64[np.ndarray, "m 7"], gap: float) -> Bool[np.ndarray, "k m"]:
    """Whether prisms come closer than `gap` in plan while their height ranges intersect.

    Separating axes: two upright boxes are apart if one of their four side normals separates them.
    """
    shift = b[None, :, :2] - a[:, None, :2]  # [k, m, 2]
    turn = b[None, :, 4] - a[:, None, 4]
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    apart = (a[:, None, 5] >= b[None, :, 6]) | (b[None, :, 5] >= a[:, None, 6])
    for one, other, yaw in (
        (a[:, None], b[None], a[:, None, 4]),
        (b[None], a[:, None], b[None, :, 4]),
    ):
        c, s = np.cos(yaw), np.sin(yaw)
        along = np.abs(shift[..., 0] * c + shift[..., 1] * s)
        across = np.abs(-shift[..., 0] * s + shift[..., 1] * c)
        apart |= along >= one[..., 2] + other[..., 2] * cos + other[..., 3] * sin + gap
        apart |= across >= one[..., 3] + other[..., 2] * sin + other[..., 3] * cos + gap
    return ~apart


@dataclass
class Layout:
    """A room while it is being furnished.

    Attributes:
      outline: counter-clockwise corners of the plan.
      gap: distance that is kept between pieces, in metres.
      max_pieces: no placement exceeds this number of pieces of furniture.
      placed: furniture in the room's frame.
      solids: prisms of what stands; a new piece may not touch them.
      zones: prisms that stay free: door swings, windows, open floor.
      openings: holes of each wall.
    """

    outline: Float64[np.ndarray, "v 2"]
    gap: float
    max_pieces: int
    placed: list[Furniture] = field(default_factory=list)
    solids: list[np.ndarray] = field(default_factory=list)
    zones: list[np.ndarray] = field(default_factory=list)
    walls: list[Wall] = field(init=False)
    openings: list[list[Opening]] = field(init=False)

    def __post_init__(self) -> None:
        self.walls = walls_of(self.outline)
        self.openings = [[] for _ in self.walls]
        # Thin slabs just outside the walls: what starts inside and leaves the room crosses one.
        self._slabs = np.array(
            [
                (*w.at(0.5 * w.length, -0.025), 0.025, 0.5 * w.length, w.yaw, -10.0, 10.0)
                for w in self.walls
            ]
        )

    def fits(
        self, prisms: Prisms, *, ignore: int | None = None, respect_zones: bool = True
    ) -> Bool[np.ndarray, "k"]:
        """Which candidates are inside and touch nothing; `ignore` is an index of `solids`."""
        free = self.fits_inside(prisms)
        solids = [s for i, s in enumerate(self.solids) if i != ignore]
        if solids:
            free &= ~overlaps(prisms, np.stack(solids), self.gap).any(1)
        if respect_zones and self.zones:
            free &= ~overlaps(prisms, np.stack(self.zones), 0.0).any(1)
        return free

    def fits_inside(self, prisms: Prisms) -> Bool[np.ndarray, "k"]:
        """Which candidates lie within the walls."""
        inside = contains(self.outline, prisms[:, :2])
        return inside & ~overlaps(prisms, self._slabs, 0.0).any(1)

    def fits_at(self, furniture: Furniture, pose: np.ndarray, z: float = 0.0) -> bool:
        """Whether a piece may stand at (x, y, yaw) and height z."""
        return bool(self.fits(prism_of(furniture, pose[None], z))[0])

    def put(self, furniture: Furniture, pose: np.ndarray, z: float = 0.0) -> int:
        """Place a piece at (x, y, yaw); returns its index in `solids`."""
        self.solids.append(prism_of(furniture, pose[None], z)[0])
        self.placed.append(furniture.moved(*pose[:2], z, yaw=pose[2]))
        return len(self.solids) - 1

    @property
    def num_pieces(self) -> int:
        """Pieces of furniture so far."""
        return sum(f.num_pieces for f in self.placed)

    @property
    def classes(self) -> set[str]:
        """Class names of what has been placed."""
        return {part.name for furniture in self.placed for part in furniture.parts}

    def is_full(self, furniture: Furniture) -> bool:
        """Whether this piece would be one too many."""
        return self.num_pieces + furniture.num_pieces > self.max_pieces

    def add_things(self, furniture: Furniture, pose: np.ndarray) -> None:
        """Small things that share a piece's pose and need no room of their own."""
        self.placed.append(furniture.moved(*pose[:2], yaw=pose[2]))


def wall_poses(
    layout: Layout, furniture: Furniture, count: int, gap: float, rng: np.random.Generator
) -> Float64[np.ndarray, "n 3"]:
    """Random poses with the back to a wall, `gap` metres off it; longer walls are more likely."""
    low, high = furniture.bounds
    width = high[1] - low[1]
    lengths = np.array([w.length for w in layout.walls])
    room = np.maximum(lengths - width - 0.02, 0)
    if not room.any():
        return np.zeros((0, 3))
    chosen = rng.choice(len(room), count, p=room / room.sum())
    # Half of the candidates go to the ends of the wall: furniture likes corners.
    share = np.where(rng.random(count) < 0.5, rng.random(count), rng.integers(0, 2, count))
    along = 0.5 * width + 0.01 + share * room[chosen]
    poses = []
    for index, s in zip(chosen, along):
        wall = layout.walls[index]
        poses.append((*wall.at(s + 0.5 * (low[1] + high[1]), gap - low[0]), wall.yaw))
    return np.array(poses)


def place_at_wall(
    layout: Layout,
    furniture: Furniture,
    rng: np.random.Generator,
    *,
    z: float = 0.0,
    gap: float = 0.02,
    front: float = 0.0,
    reserve: bool = True,
    tries: int = 96,
) -> np.ndarray | None:
    """Put a piece with its back to a wall, `front` metres free before it; its pose, or None.

    `reserve` keeps that space free of later pieces as well (doors and drawers open into it);
    otherwise it is there for a chair, so it must not be anyone else's either.
    """
    poses = wall_poses(layout, furniture, tries, gap, rng)
    if not len(poses) or layout.is_full(furniture):
        return None
    prisms = prism_of(furniture, poses, z)
    free = layout.fits(prisms)
    if front:
        free &= layout.fits(_in_front(prisms, front), respect_zones=not reserve)
    if not free.any():
        return None
    pose = poses[np.argmax(free)]
    if front and reserve:
        layout.zones.append(_in_front(prisms[free][:1], front)[0])
    layout.put(furniture, pose, z)
    return pose


def _in_front(prisms: Prisms, depth: float) -> Prisms:
    """The space before the front of each prism, from the floor to head height."""
    ahead = prisms.copy()
    reach = prisms[:, 2] + 0.5 * depth
    ahead[:, 0] += reach * np.cos(prisms[:, 4])
    ahead[:, 1] += reach * np.sin(prisms[:, 4])
    ahead[:, 2] = 0.5 * depth
    ahead[:, 5], ahead[:, 6] = 0.0, 1.8
    return ahead


def random_poses(
    layout: Layout, count: int, rng: np.random.Generator, *, square: bool
) -> Float64[np.ndarray, "n 3"]:
    """Random poses in the plan's bounding rectangle; `square`: parallel to the walls."""
    low, high = layout.outline.min(0), layout.outline.max(0)
    xy = low + rng.random((count, 2)) * (high - low)
    yaw = rng.integers(0, 4, count) * (0.5 * np.pi) if square else rng.uniform(0, 2 * np.pi, count)
    return np.column_stack([xy, yaw])


def place_free(
    layout: Layout,
    furniture: Furniture,
    rng: np.random.Generator,
    *,
    square: bool = True,
    around: float = 0.0,
    tries: int = 192,
) -> np.ndarray | None:
    """Put a piece anywhere, with `around` metres free on all sides; its pose, or None."""
    poses = random_poses(layout, tries, rng, square=square)
    prisms = prism_of(furniture, poses)
    prisms[:, 2:4] += around
    free = layout.fits(prisms)
    if not free.any() or layout.is_full(furniture):
        return None
    pose = poses[np.argmax(free)]
    layout.put(furniture, pose)
    return pose


def place_chair(
    layout: Layout,
    chair: Furniture,
    seat: Seat,
    table: int,
    pose: np.ndarray,
    rng: np.random.Generator,
) -> bool:
    """Put a chair at a seat of a table that stands at `pose`, facing it, pulled out at random.

    Only what is lower than `KNEE_HEIGHT` may go under the table's edge, and only where the gap
    between the table's legs is wide enough.
    """
    low, high = chair.bounds
    vertices = chair.mesh.quads.reshape(-1, 3)
    upper = vertices[vertices[:, 2] > KNEE_HEIGHT, 0].max(initial=low[0])
    under = min(seat.depth, high[0] - upper - layout.gap)
    if high[1] - low[1] > seat.width:
        under = -layout.gap
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    x = pose[0] + cos * seat.x - sin * seat.y
    y = pose[1] + sin * seat.x + cos * seat.y
    reach = rng.uniform(min(under - 0.05, -0.1), under, 8)
    yaw = pose[2] + seat.yaw + np.where(reach > 0, 0.04, 0.12) * rng.standard_normal(8)
    back = high[0] - reach
    poses = np.column_stack([x - back * np.cos(yaw), y - back * np.sin(yaw), yaw])
    free = layout.fits(prism_of(chair, poses), ignore=table)
    if not free.any() or layout.is_full(chair):
        return False
    layout.put(chair, poses[np.argmax(free)])
    return True


def place_beside(
    layout: Layout, furniture: Furniture, index: int, side: int, gap: float
) -> np.ndarray | None:
    """Put a piece next to `solids[index]`, its back in line, on the left (+1) or right (-1)."""
    x, y, half_depth, half_width, yaw = layout.solids[index][:5]
    low, high = furniture.bounds
    back = -half_depth - low[0]
    across = side * (half_width + gap + 0.5 * (high[1] - low[1]))
    cos, sin = np.cos(yaw), np.sin(yaw)
    pose = np.array([x + cos * back - sin * across, y + sin * back + cos * across, yaw])
    if layout.is_full(furniture) or not layout.fits_at(furniture, pose):
        return None
    layout.put(furniture, pose)
    return pose
