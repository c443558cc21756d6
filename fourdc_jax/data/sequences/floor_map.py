"""The 2D map of a scan that says where an object can stand (section 3.3).

The scan is voxelised at 10 cm and its occupied voxels are counted over the height. A cell of the
map is valid where at most one voxel is occupied and its top is near the floor. An object may
stand at a cell's centre where its bounding sphere, seen from above, stays inside the valid cells.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64
from scipy import ndimage

from fourdc_jax.data.grids.voxelization import unique_keys


@dataclass(frozen=True)
class FloorMapParams:
    """Which cells of the map are valid; metres.

    voxel: side of the map's cells and of the voxels that are counted in them.
    max_accumulation: a valid cell has at most this many occupied voxels.
    floor_band: a valid cell's highest point is at most this far from the average floor height.
    max_hole: empty cells count as valid in holes of the floor up to this area (square metres);
      elsewhere nothing is known of them, so they are not.
    """

    voxel: float
    max_accumulation: int
    floor_band: float
    max_hole: float


@dataclass(frozen=True)
class FloorMap:
    """The 2D map of a scan: cell (i, j) covers (origin + (i, j) + [0, 1)) * voxel in x and y.

    `top` is the highest point of a cell and `ground` the mean height of its points; both are
    NaN where the cell is empty. `clearance` is the distance from the centre of a cell to the
    nearest cell that is not valid (to its border, not its centre); 0 in cells not valid.
    """

    origin: Int64[np.ndarray, "2"]
    voxel: float
    floor_height: float
    accumulation: Int32[np.ndarray, "w h"]
    top: Float32[np.ndarray, "w h"]
    ground: Float32[np.ndarray, "w h"]
    valid: Bool[np.ndarray, "w h"]
    clearance: Float32[np.ndarray, "w h"]

    def cell_centers(self, cells: Int64[np.ndarray, "c 2"]) -> Float64[np.ndarray, "c 2"]:
        """x and y of the cells' centres."""
        return (self.origin + cells + 0.5) * self.voxel


def estimate_floor(
    cells: Int64[np.ndarray, "n"], heights: Float64[np.ndarray, "n"], window: float
) -> float:
    """Average floor height of a scan whose points lie in numbered columns of the map.

    Most columns end on the floor; those that end on furniture, or in stray points below the floor
    (reflections), are fewer and spread. So the floor is where the columns' lowest points are
    densest, in a `window` of heights (the lower one of equals). Each column whose lowest point is
    in the window counts alike, with the mean height of its points there.
    """
    lowest = np.full(int(cells.max()) + 1, np.inf)
    np.minimum.at(lowest, cells, heights)
    ends = np.sort(lowest[np.isfinite(lowest)])
    counts = np.searchsorted(ends, ends + window, side="right") - np.arange(len(ends))
    low = ends[np.argmax(counts)]
    is_floor = (lowest[cells] >= low) & (heights <= low + window)
    sums = np.bincount(cells[is_floor], weights=heights[is_floor])
    sizes = np.bincount(cells[is_floor])
    return float((sums[sizes > 0] / sizes[sizes > 0]).mean())


def build_floor_map(points: Float32[np.ndarray, "n 3"], params: FloorMapParams) -> FloorMap:
    """Accumulates a scan's occupied voxels over the height and marks the valid cells.

    The horizontal grid is floor(xy / voxel). The vertical one is shifted so that the floor lies
    in the middle of a voxel: otherwise a floor at a multiple of the voxel side falls into two
    voxels by noise alone, and no cell of it is valid.

    Raises:
      ValueError: the scan is empty.
    """
    if len(points) == 0:
        raise ValueError("a floor map needs at least one point")
    voxel = params.voxel
    cells = np.floor(points[:, :2].astype(np.float64) / voxel).astype(np.int64)
    origin = cells.min(axis=0)
    cells -= origin
    width, height = (int(v) for v in cells.max(axis=0) + 1)
    flat = cells[:, 0] * height + cells[:, 1]
    num_cells = width * height
    z = points[:, 2].astype(np.float64)
    top = np.full(num_cells, -np.inf)
    np.maximum.at(top, flat, z)
    count = np.bincount(flat, minlength=num_cells)
    occupied = count > 0
    floor_height = estimate_floor(flat, z, voxel)

    layer = np.floor((z - floor_height) / voxel + 0.5).astype(np.int64)
    layer -= layer.min()
    layers = int(layer.max()) + 1
    filled, _ = unique_keys(flat * layers + layer, (num_cells * layers).bit_length())
    accumulation = np.bincount(filled // layers, minlength=num_cells).astype(np.int32)
    with np.errstate(invalid="ignore"):
        ground = np.bincount(flat, weights=z, minlength=num_cells) / count
    top[~occupied] = np.nan
    near = np.abs(top - floor_height) <= params.floor_band  # False where empty
    valid = (near & (accumulation <= params.max_accumulation)).reshape(width, height)
    empty = ~occupied.reshape(width, height)
    valid |= find_holes(empty, int(params.max_hole / voxel**2 + 1e-6), floor=valid)
    return FloorMap(
        origin=origin,
        voxel=voxel,
        floor_height=floor_height,
        accumulation=accumulation.reshape(width, height),
        top=top.astype(np.float32).reshape(width, height),
        ground=ground.astype(np.float32).reshape(width, height),
        valid=valid,
        clearance=measure_clearance(valid, voxel),
    )


def find_holes(
    empty: Bool[np.ndarray, "w h"], max_cells: int, floor: Bool[np.ndarray, "w h"]
) -> Bool[np.ndarray, "w h"]:
    """Empty regions of at most `max_cells` cells inside the floor.

    All cells around such a hole are floor: a gap in a piece of furniture, or one that reaches the
    map's border, is none.
    """
    neighbours = np.ones((3, 3), bool)
    labels, _ = ndimage.label(empty, structure=neighbours)
    is_hole = np.bincount(labels.ravel()) <= max_cells
    is_hole[0] = False
    beside = ndimage.binary_dilation(~empty & ~floor, structure=neighbours)
    beside[[0, -1]] = beside[:, [0, -1]] = True
    is_hole[labels[beside]] = False
    return is_hole[labels]


def measure_clearance(valid: Bool[np.ndarray, "w h"], voxel: float) -> Float32[np.ndarray, "w h"]:
    """Distance from each cell's centre to the nearest border of a cell that is not valid.

    Exact: on a lattice of half the cell side every cell that is not valid occupies 3 x 3 nodes
    (its corners, the middles of its edges, its centre), and the point of a square nearest to
    another cell's centre is always one of them. Outside of the map nothing is valid.
    """
    blocked = np.pad(~valid, 1, constant_values=True)
    width, height = blocked.shape
    nodes = np.zeros((2 * width + 1, 2 * height + 1), bool)
    for i in range(3):
        for j in range(3):
            nodes[i : i + 2 * width : 2, j : j + 2 * height : 2] |= blocked
    distance = ndimage.distance_transform_edt(~nodes)  # in half cells
    return (distance[1::2, 1::2][1:-1, 1:-1] * (voxel / 2)).astype(np.float32)


def find_candidates(floor_map: FloorMap, radius: float) -> Int64[np.ndarray, "c 2"]:
    """Cells at whose centre a bounding sphere of `radius` stays inside the valid region."""
    return np.argwhere(floor_map.valid & (floor_map.clearance >= radius))


def measure_local_floor(
    floor_map: FloorMap, position: Float64[np.ndarray, "2"], radius: float
) -> float:
    """Median ground height of the occupied cells whose centre is within `radius`."""
    low = np.floor((position - radius) / floor_map.voxel).astype(np.int64) - floor_map.origin
    high = np.floor((position + radius) / floor_map.voxel).astype(np.int64) - floor_map.origin + 1
    low = np.maximum(low, 0)
    patch = floor_map.ground[low[0] : high[0], low[1] : high[1]]
    cells = np.argwhere(np.isfinite(patch))
    centers = floor_map.cell_centers(cells + low)
    inside = np.square(centers - position).sum(axis=1) <= radius**2
    heights = patch[tuple(cells[inside].T)]
    return float(np.median(heights)) if len(heights) else floor_map.floor_height
