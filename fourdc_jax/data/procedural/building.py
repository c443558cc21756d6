"""Doors, windows, curtains and what else belongs to the walls of a room."""

import numpy as np

from fourdc_jax.data.procedural.accessories import (
    make_curtain,
    make_door,
    make_panel,
    make_picture,
    make_radiator,
    make_window,
)
from fourdc_jax.data.procedural.furniture import Furniture, Part
from fourdc_jax.data.procedural.layout import Layout, place_at_wall, prism_of, random_poses
from fourdc_jax.data.procedural.palette import pick
from fourdc_jax.data.procedural.plan import Opening, floor_mesh, wall_mesh
from fourdc_jax.data.procedural.solids import Pair, Real, join

_CORNER = 0.15  # metres of wall beside an opening


def place_opening(
    layout: Layout, size: Pair, low: Real, clear: Real, rng: np.random.Generator
) -> np.ndarray | None:
    """Cut a hole (width, height) into a free stretch of wall; the pose of its middle, or None.

    `clear` metres before it stay free of furniture as high as the hole.
    """
    width, height = size
    wide = [i for i, w in enumerate(layout.walls) if w.length > width + 2 * _CORNER]
    if not wide:
        return None
    for index in rng.choice(wide, 12):
        wall = layout.walls[index]
        along = rng.uniform(_CORNER + 0.5 * width, wall.length - _CORNER - 0.5 * width)
        x, y = wall.at(along, 0.5 * clear + 0.005)
        zone = np.array([x, y, 0.5 * clear, 0.5 * width + 0.08, wall.yaw, low, low + height])
        if layout.fits(zone[None])[0]:
            layout.zones.append(zone)
            span = Opening(along - 0.5 * width, along + 0.5 * width, low, low + height)
            layout.openings[index].append(span)
            return np.array([*wall.at(along), wall.yaw])
    return None


def add_doors(layout: Layout, count: int, rng: np.random.Generator) -> None:
    """Doors, most of them closed, some open into the room."""
    for _ in range(count):
        width, height = rng.uniform(0.8, 0.95), rng.uniform(1.98, 2.1)
        pose = place_opening(layout, (width + 0.12, height + 0.06), 0.0, 1.0, rng)
        if pose is not None:
            swing = rng.uniform(0.4, 1.5) if rng.random() < 0.3 else 0.0
            door = make_door(rng, width, height, swing)
            layout.put(door, pose)


def add_windows(
    layout: Layout,
    count: int,
    sill: Real,
    height: Real,
    curtains: Real,
    rng: np.random.Generator,
) -> None:
    """Windows of one height with curtains or a radiator below, where there is room."""
    top = sill + height
    for _ in range(count):
        width = rng.uniform(0.7, 1.9)
        pose = place_opening(layout, (width, height), sill, 0.1, rng)
        if pose is None:
            continue
        layout.placed.append(make_window(rng, width, height).moved(*pose[:2], sill, yaw=pose[2]))
        below = (0.09, sill - 0.05)
        if rng.random() < curtains:
            low = 0.04 if rng.random() < 0.5 else sill - 0.12
            below = (0.14, low)
            _hang(layout, make_curtain(rng, width, low, top + 0.12), pose, 0.09)
        radiator = make_radiator(rng)
        if radiator.bounds[1, 2] < below[1] and rng.random() < 0.4:
            _hang(layout, radiator, pose, 0.06)


def _hang(layout: Layout, furniture: Furniture, pose: np.ndarray, out: Real) -> None:
    """Put a piece `out` metres before a point of a wall, if nothing else is there."""
    x, y = pose[:2] + out * np.array([np.cos(pose[2]), np.sin(pose[2])])
    middle = np.array([x, y, pose[2]])
    if layout.fits(prism_of(furniture, middle[None]), respect_zones=False)[0]:
        layout.put(furniture, middle)


def add_pictures(layout: Layout, count: int, rng: np.random.Generator) -> None:
    """Pictures at eye height, where no tall furniture stands."""
    for _ in range(count):
        picture = make_picture(rng)
        place_at_wall(layout, picture, rng, z=rng.uniform(1.25, 1.5), gap=0.003)


def add_panel(layout: Layout, kind: str, size: Pair, low: Real, rng: np.random.Generator) -> None:
    """A whiteboard or mirror on a free stretch of wall."""
    place_at_wall(layout, make_panel(rng, kind, *size), rng, z=low, gap=0.003)


def reserve_floor(layout: Layout, size: Pair, rng: np.random.Generator) -> bool:
    """Keep a rectangle of open floor, as near to the middle of the room as the plan allows."""
    poses = random_poses(layout, 64, rng, square=True)
    prisms = np.column_stack([poses[:, :2], np.tile(np.array(size) / 2, (64, 1)), poses[:, 2]])
    prisms = np.column_stack([prisms, np.zeros(64), np.full(64, 2.5)])
    inside = np.flatnonzero(layout.fits(prisms, respect_zones=False))
    if not len(inside):
        return False
    choices = inside[: max(1, len(inside) // 3)]
    middle = layout.outline.mean(0)
    best = choices[np.argmin(np.linalg.norm(prisms[choices, :2] - middle, axis=1))]
    layout.zones.append(prisms[best])
    return True


def shell(layout: Layout, height: Real, rng: np.random.Generator) -> list[Part]:
    """Walls and floor, after all openings are cut."""
    color = pick(rng, "wall")
    colors = [np.clip(color + rng.normal(0, 0.015), 0, 1) for _ in layout.walls]
    if rng.random() < 0.25:  # one accent wall
        colors[rng.integers(len(colors))] = pick(rng, "fabric")
    meshes = [wall_mesh(w, o, height, c) for w, o, c in zip(layout.walls, layout.openings, colors)]
    floor = floor_mesh(layout.outline, 1.2, rng, pick(rng, "floor"))
    return [Part("wall", join(meshes)), Part("floor", floor)]
