"""Where a picture of a room is taken from, and which walls are cut away for it.

A scan is closed: ceiling and walls hide what is inside. As in an architect's doll-house view, the
camera looks down from above a corner and everything between it and the floor plan is left out.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

FIELD_OF_VIEW = np.radians(32.0)  # horizontal; narrow, so that distant furniture keeps its size
ELEVATION = np.radians(42.0)
PLAN_CELL = 0.1  # m, floor-plan cells


@dataclass(frozen=True)
class Camera:
    """A perspective pinhole camera; rows of `rotation` are its right, down and forward axes."""

    eye: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    focal: float  # pixels
    width: int
    height: int
    centre: tuple[float, float] = (0.5, 0.5)  # where the forward axis meets the picture, 0 to 1

    def project(
        self, points: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n"]]:
        """Pixel coordinates (x right, y down) and depth in metres, points in scene metres."""
        local = (points - self.eye) @ self.rotation.T  # [n, 3]
        depth = np.maximum(local[:, 2], 1e-3)
        centre = np.array([self.width, self.height]) * self.centre
        return local[:, :2] * (self.focal / depth[:, None]) + centre, depth

    def resized(self, height: int) -> "Camera":
        """The same view, `height` pixels high."""
        factor = height / self.height
        width = round(self.width * factor)
        return replace(self, focal=self.focal * factor, width=width, height=height)

    def zoomed(
        self, points: Float[np.ndarray, "n 3"], *, part: float = 0.5, most: float = 2.0
    ) -> "Camera":
        """Crop and enlarge (at most `most` times), so that `points` fill `part` of the picture.

        No points leave the view as it is.
        """
        if len(points) == 0:
            return self
        pixels, _ = self.project(points)
        shares = pixels / (self.width, self.height)  # [n, 2] 0 to 1 inside the picture
        low, high = shares.min(0), shares.max(0)
        factor = float(np.clip(part / (high - low).max(), 1.0, most))
        window = np.clip(
            (low + high) / 2 - 0.5 / factor, 0, 1 - 1 / factor
        )  # its upper left corner
        x, y = (np.array(self.centre) - window) * factor
        return replace(self, focal=self.focal * factor, centre=(float(x), float(y)))


def look_at_room(
    points: Float[np.ndarray, "n 3"],
    *,
    width: int = 800,
    height: int = 600,
    corner: int | None = None,
    elevation: float = ELEVATION,
    focus: Float[np.ndarray, "f 3"] | None = None,
    margin: float = 0.03,
) -> Camera:
    """A camera above a corner of the room, with all of the cut-away room in the picture.

    Args:
      points: the scan, z up, in metres.
      width, height: picture size in pixels.
      corner: 0 to 3 picks one of the four corners; None takes the one that shows most of the
        floor plan, and of `focus` where given.
      elevation: viewing angle above the horizon in radians.
      focus: points that should be seen, such as the moving object in all its frames.
      margin: part of the picture left empty on each side.

    Raises:
      ValueError: fewer than 4 points, or coordinates that are not finite.
    """
    check_points(points)
    if corner is not None and corner not in range(4):
        raise ValueError(f"corner is 0, 1, 2 or 3 (or None for the best view), got {corner}")
    sample = points[:: max(1, len(points) // 40_000)].astype(np.float64)
    yaw = room_yaw(sample)
    candidates = range(4) if corner is None else [corner]
    views = [
        _view(sample, yaw + i * np.pi / 2, elevation, width, height, margin) for i in candidates
    ]
    if len(views) == 1:
        return views[0]
    scores = [_score(sample, view, focus) for view in views]
    return views[int(np.argmax(scores))]


def cut_away(
    points: Float[np.ndarray, "n 3"],
    camera: Camera,
    *,
    ceiling: float = 2.1,
    rim: float = 0.15,
    wall: float = 1.2,
    reach: float = 1.0,
) -> Bool[np.ndarray, "n"]:
    """Which points to draw: no ceiling, and no walls between the camera and the floor plan.

    A floor-plan cell with something taller than `wall` (metres above the floor) and little of the
    room within `reach` metres in front of it, seen from the camera, is a near wall and is cut down
    to a rim of height `rim`. Everything above `ceiling` goes.
    """
    floor = floor_height(points)
    height = points[:, 2] - floor
    keep = height < ceiling
    right = camera.rotation[0, :2] / np.linalg.norm(camera.rotation[0, :2])
    ahead = np.array([-right[1], right[0]])  # horizontal direction of view, away from the camera
    ahead *= np.sign(ahead @ camera.rotation[2, :2]) or 1.0
    u = np.floor(points[:, :2] @ right / PLAN_CELL).astype(np.int64)
    v = np.floor(points[:, :2] @ ahead / PLAN_CELL).astype(np.int64)
    u, v = u - u.min(), v - v.min()
    top = np.full((u.max() + 1, v.max() + 1), -np.inf)  # [u, v] highest point of each cell
    np.maximum.at(top, (u, v), np.where(height < 2.6, height, -np.inf))
    padded = np.pad(top, 1, constant_values=-np.inf)
    tallest = np.max(  # of each cell and its neighbours: scanned walls are ragged
        [padded[i : i + top.shape[0], j : j + top.shape[1]] for i in range(3) for j in range(3)], 0
    )
    inside = np.cumsum(np.isfinite(top), axis=1)  # occupied cells up to and including v
    steps = round(reach / PLAN_CELL)
    before = np.pad(inside, ((0, 0), (steps + 2, 0)))[:, : top.shape[1]]
    gap = 1  # a wall is up to two cells thick: what lies directly in front is the wall itself
    in_front = np.pad(inside, ((0, 0), (gap + 1, 0)))[:, : top.shape[1]] - before
    near_wall = (tallest > wall) & (in_front < 0.5 * steps)
    return keep & ~(near_wall[u, v] & (height > rim))


def check_points(points: np.ndarray) -> None:
    """Raise ValueError unless `points` is a drawable [n, 3] cloud."""
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be [n, 3], got {list(points.shape)}")
    if len(points) < 4:
        raise ValueError(f"a picture needs at least 4 points, got {len(points)}")
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points).all(1)).sum())
        raise ValueError(f"{bad} of {len(points)} points have coordinates that are not finite")


def floor_height(points: Float[np.ndarray, "n 3"]) -> float:
    """Height of the floor: the fullest 5 cm layer among the lowest 60 cm of the cloud."""
    low = np.percentile(points[:, 2], 0.5)
    counts, edges = np.histogram(points[:, 2], bins=12, range=(low - 0.05, low + 0.55))
    fullest = int(np.argmax(counts))
    return float(0.5 * (edges[fullest] + edges[fullest + 1])) if counts[fullest] else float(low)


def room_yaw(points: Float[np.ndarray, "n 3"]) -> float:
    """Angle of the room's main axis to x: the bounding rectangle of least area."""
    plan = points[:, :2] - points[:, :2].mean(0)
    angles = np.radians(np.arange(0.0, 90.0, 3.0))
    areas = []
    for angle in angles:
        c, s = np.cos(angle), np.sin(angle)
        turned = plan @ np.array([[c, -s], [s, c]])
        low, high = np.percentile(turned, [1, 99], axis=0)
        areas.append(np.prod(high - low))
    best = angles[int(np.argmin(areas))]
    c, s = np.cos(best), np.sin(best)
    spread = np.ptp(plan @ np.array([[c, -s], [s, c]]), axis=0)
    return float(best if spread[0] >= spread[1] else best + np.pi / 2)


def _view(
    points: np.ndarray, yaw: float, elevation: float, width: int, height: int, margin: float
) -> Camera:
    """A camera at corner `yaw` + 55 degrees: far enough that the cut-away room just fits."""
    azimuth = yaw + np.radians(55.0)  # more along the long side than a symmetric corner view
    forward = -np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = width / 2 / np.tan(FIELD_OF_VIEW / 2)
    half = np.array([width, height]) * (0.5 - margin) / focal  # [2] tangent of half the view
    low, high = np.percentile(points, [0.3, 99.7], axis=0)
    inside = ((points >= low) & (points <= high)).all(1) & (
        points[:, 2] < floor_height(points) + 2.1
    )
    local = (points[inside] if inside.any() else points) @ rotation.T  # [n, 3]
    # A point is seen where |xy - eye_xy| <= half * (z - eye_z): a least distance from each side.
    reach_high = (local[:, :2] - half * local[:, 2:]).max(0)
    reach_low = (local[:, :2] + half * local[:, 2:]).min(0)
    eye_z = ((reach_low - reach_high) / (2 * half)).min()
    eye_xy = (reach_high + reach_low) / 2
    eye = np.array([eye_xy[0], eye_xy[1], eye_z]) @ rotation
    return Camera(eye, rotation, float(focal), width, height)


def visible(
    points: Float[np.ndarray, "p 3"],
    camera: Camera,
    occluders: Float[np.ndarray, "n 3"],
    *,
    tolerance: float = 0.15,
) -> Bool[np.ndarray, "p"]:
    """Which `points` no occluder hides by more than `tolerance` metres, on a coarse grid."""
    cells = 96  # across the picture: wide enough for the gaps between scanned points
    rows = cells * camera.height // camera.width + 1

    def cell_of(cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixels, depth = camera.project(cloud)
        cell = np.clip((pixels * (cells / camera.width)).astype(np.int64), 0, (cells, rows))
        return cell[:, 1] * (cells + 1) + cell[:, 0], depth

    nearest = np.full((cells + 1) * (rows + 1), np.inf)
    np.minimum.at(nearest, *cell_of(occluders))
    cell, depth = cell_of(points)
    return depth < nearest[cell] + tolerance


def _score(points: np.ndarray, camera: Camera, focus: np.ndarray | None) -> float:
    """Fraction of the cloud seen below 1 m (floor and furniture), plus that of `focus`."""
    room = points[cut_away(points, camera)]
    if focus is None or not len(focus):
        focus, occluders = room[:0], room
    else:
        occluders = np.concatenate([room, focus])
    low = room[:, 2] < floor_height(points) + 1.0
    score = (visible(room, camera, occluders) & low).sum() / len(points)
    return float(score + visible(focus, camera, occluders).sum() / max(1, len(focus)))
