"""Procedural rooms, version 1: the embedded dataset, and a benchmark of its own.

A room is furnished by rules, then scanned by a simulated depth camera that walks through it, and
its images are fused. The same seed gives the same room, bit for bit on one platform. A change of
anything that `make_room` returns is a new `VERSION`: results of two versions do not compare.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, Int32

from fourdc_jax.data.procedural.building import (
    add_doors,
    add_pictures,
    add_windows,
    reserve_floor,
    shell,
)
from fourdc_jax.data.procedural.camera import CameraParams
from fourdc_jax.data.procedural.classes import IGNORE_LABEL, STUFF_CLASSES, label_of
from fourdc_jax.data.procedural.furniture import Part
from fourdc_jax.data.procedural.layout import Layout
from fourdc_jax.data.procedural.plan import KINDS, make_outline
from fourdc_jax.data.procedural.programs import PROGRAMS, Program, add_extras
from fourdc_jax.data.procedural.scanning import scan
from fourdc_jax.data.procedural.solids import join
from fourdc_jax.data.procedural.walk import walk_through
from fourdc_jax.data.scan import Scan

VERSION = "procedural-rooms-1"


@dataclass(frozen=True)
class RoomParams:
    """What defines the benchmark, apart from the furniture's own proportions.

    Attributes:
      camera: the depth camera.
      stations, turns: standing places of the camera, and views around each.
      eye_height: range of the camera's height, metres.
      pitch: range of its pitch, degrees, negative downwards.
      voxel: observations in the same voxel are averaged, metres.
      min_points: an instance with fewer points is left unannotated.
      tilt: largest angle between floor and z = 0, degrees.
      offset: standard deviation of the floor's height, metres.
      wall_height: range, metres.
      gap: distance kept between pieces of furniture, metres.
      pieces: least and most pieces of furniture (everything annotated but walls, floor, doors,
        windows, pictures and curtains).
      doors, windows, pictures: most of each in a room.
      draws: layouts that are tried for a room before giving up.
    """

    camera: CameraParams
    stations: int
    turns: int
    eye_height: tuple[float, float]
    pitch: tuple[float, float]
    voxel: float
    min_points: int
    tilt: float
    offset: float
    wall_height: tuple[float, float]
    gap: float
    pieces: tuple[int, int]
    doors: int
    windows: int
    pictures: int
    draws: int


PARAMS = RoomParams(
    camera=CameraParams(
        width=160,
        height=120,
        field_of_view=62.0,
        near=0.4,
        far=4.5,
        noise_floor=0.0012,
        noise_slope=0.0019,
        pose_shift=0.004,
        pose_turn=0.1,
        warp=0.002,
        grazing=0.2,
        hole_scale=8,
        exposure=0.05,
        grain=0.03,
        near_plane=0.05,
    ),
    stations=9,
    turns=4,
    eye_height=(1.3, 1.65),
    pitch=(-42.0, -4.0),
    voxel=0.027,
    min_points=40,
    tilt=0.25,
    offset=0.01,
    wall_height=(2.4, 3.0),
    gap=0.02,
    pieces=(8, 20),
    doors=2,
    windows=3,
    pictures=4,
    draws=200,
)


def make_room(seed: int, *, num_points: int | None = None, params: RoomParams = PARAMS) -> Scan:
    """The scan of room number `seed`, about 100k points unless `num_points` asks for fewer.

    Labels are ScanNet's 20 train ids (`classes.CLASSES`), 255 for clutter. Instance k belongs to
    row k - 1 of `boxes`; walls, floor and clutter have instance 0. A box encloses the whole
    instance, seen or not; its class is the train id of its points. Walls are parallel to x and y,
    but for a cut corner.

    Raises:
      ValueError: negative seed.
    """
    if seed < 0:
        raise ValueError(f"rooms are numbered from 0, got {seed}")
    rng = np.random.default_rng(seed)
    layout, parts = furnish(PROGRAMS[room_type(seed)], rng, params)
    parts = settle(parts, params, rng)
    mesh = join([part.mesh for part in parts])
    part_of_quad = np.repeat(np.arange(len(parts)), [len(part.mesh.quads) for part in parts])
    poses = walk_through(
        layout,
        stations=params.stations,
        turns=params.turns,
        height=params.eye_height,
        pitch=params.pitch,
        rng=rng,
    )
    cloud = scan(mesh, part_of_quad, poses, params.camera, params.voxel, rng)
    kept = np.arange(len(cloud.points))
    if num_points is not None and num_points < len(kept):
        kept = np.sort(rng.choice(len(kept), num_points, replace=False))
    labels, instances, boxes = annotate(parts, cloud.parts[kept], params.min_points)
    return Scan(
        name=f"room_{seed:06d}",
        points=cloud.points[kept].astype(np.float32),
        colors=cloud.colors[kept],
        labels=labels,
        instances=instances,
        boxes=boxes,
        label_set="scannet20",
    )


def room_type(seed: int) -> str:
    """Name of a room's program: each block of consecutive seeds holds every type once."""
    names = list(PROGRAMS)
    block, place = divmod(seed, len(names))
    return names[np.random.default_rng(block).permutation(len(names))[place]]


def furnish(
    program: Program, rng: np.random.Generator, params: RoomParams
) -> tuple[Layout, list[Part]]:
    """A room's layout and everything in it, drawn again until it holds what it must.

    Raises:
      ValueError: no draw did; the parameters ask for too much in too small a room.
    """
    for _ in range(params.draws):
        layout, height = plan_room(program, rng, params)
        program.anchor(layout, rng)
        share = rng.uniform(0.85, 1.0)
        floor = (share * program.open_floor[0], share * program.open_floor[1])
        if not program.required <= layout.classes or not reserve_floor(layout, floor, rng):
            continue
        program.fill(layout, rng)
        add_extras(layout, params.pieces[0], rng)
        add_pictures(layout, int(rng.integers(params.pictures + 1)), rng)
        if layout.num_pieces >= params.pieces[0]:
            things = [part for furniture in layout.placed for part in furniture.parts]
            return layout, [*shell(layout, height, rng), *things]
    needs = ", ".join([*sorted(program.required), "open floor"])
    raise ValueError(
        f"none of {params.draws} layouts held {needs} and {params.pieces[0]} pieces of furniture: "
        "ask for fewer pieces"
    )


def plan_room(
    program: Program, rng: np.random.Generator, params: RoomParams
) -> tuple[Layout, float]:
    """Empty room with doors and windows; also its height."""
    width, depth = rng.uniform(*program.size)
    outline = make_outline(str(rng.choice(KINDS)), width, depth, rng)
    layout = Layout(outline, params.gap, params.pieces[1])
    add_doors(layout, int(rng.integers(1, params.doors + 1)), rng)
    sill = program.sill + rng.uniform(-0.1, 0.1)
    count = int(rng.integers(1, params.windows + 1))
    add_windows(layout, count, sill, rng.uniform(0.9, 1.25), program.curtains, rng)
    return layout, rng.uniform(*params.wall_height)


def settle(parts: list[Part], params: RoomParams, rng: np.random.Generator) -> list[Part]:
    """The room slightly tilted and lifted, as a scan is after alignment."""
    tilt = np.radians(params.tilt) * rng.uniform(-1, 1, 2)
    lift = params.offset * rng.standard_normal()
    return [
        Part(p.name, p.mesh.turned("x", tilt[0]).turned("y", tilt[1]).moved(z=lift)) for p in parts
    ]


def annotate(
    parts: list[Part], part_of_point: Int[np.ndarray, "n"], min_points: int
) -> tuple[Int32[np.ndarray, "n"], Int32[np.ndarray, "n"], Float32[np.ndarray, "b 7"]]:
    """Labels and instances of the points, and the boxes of all instances that were really seen."""
    counts = np.bincount(part_of_point, minlength=len(parts))
    labels = np.full(len(parts), IGNORE_LABEL, np.int32)
    instances = np.zeros(len(parts), np.int32)
    boxes = []
    for index, part in enumerate(parts):
        if part.name in STUFF_CLASSES:
            labels[index] = label_of(part.name)
        elif counts[index] >= min_points:
            labels[index] = label_of(part.name)
            low, high = part.mesh.bounds
            boxes.append([*(0.5 * (low + high)), *(high - low), labels[index]])
            instances[index] = len(boxes)
    table = np.array(boxes, np.float32).reshape(-1, 7)
    return labels[part_of_point], instances[part_of_point], table
