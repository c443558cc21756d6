"""Lamps, plants, bins, appliances, things that lie on tables and things that hang on walls."""

import numpy as np

from fourdc_jax.data.procedural.classes import CLUTTER
from fourdc_jax.data.procedural.furniture import Furniture, Part, Top, single
from fourdc_jax.data.procedural.palette import BLACK, GLASS, MIRROR, SCREEN, pick, vivid
from fourdc_jax.data.procedural.sanitary import folds
from fourdc_jax.data.procedural.solids import (
    Mesh,
    Real,
    box,
    boxes,
    cushion,
    cylinder,
    join,
    ring,
    rod,
    vessel,
)
from fourdc_jax.data.procedural.storage import doors


def _hollow(bottom: Real, top: Real, z: Real, height: Real, color: np.ndarray) -> Mesh:
    """Round open container or shade of two radii, 1 cm thick."""
    outer = [ring((2 * r, 2 * r), h) for r, h in ((bottom, z), (top, z + height))]
    rings = ((top - 0.01, z + height), (bottom - 0.01, z + 0.01))
    return vessel(outer, [ring((2 * r, 2 * r), h) for r, h in rings], color)


def make_floor_lamp(rng: np.random.Generator) -> Furniture:
    """Foot, pole and shade."""
    height, metal = rng.uniform(1.3, 1.75), pick(rng, "metal")
    shade = _hollow(
        rng.uniform(0.16, 0.24), rng.uniform(0.1, 0.16), height - 0.25, 0.25, pick(rng, "linen")
    )
    foot = cylinder(rng.uniform(0.12, 0.17), 0.03, (0, 0, 0), metal)
    return single(
        "otherfurniture",
        [foot, cylinder(0.015, height - 0.2, (0, 0, 0.03), metal, segments=8), shade],
    )


def make_bin(rng: np.random.Generator) -> Furniture:
    """Waste bin or laundry basket."""
    radius, height = rng.uniform(0.11, 0.2), rng.uniform(0.26, 0.6)
    return single(
        "otherfurniture", [_hollow(0.85 * radius, radius, 0, height, pick(rng, "plastic"))]
    )


def make_plant(rng: np.random.Generator) -> Furniture:
    """Leaves around a stem in a pot; clutter, as in ScanNet."""
    radius, pot = rng.uniform(0.1, 0.18), rng.uniform(0.2, 0.35)
    height, count = rng.uniform(0.4, 1.1), int(rng.integers(20, 45))
    parts = [_hollow(0.7 * radius, radius, 0, pot, pick(rng, "ceramic"))]
    parts.append(cylinder(0.015, 0.8 * height, (0, 0, pot - 0.05), pick(rng, "wood"), segments=6))
    green = pick(rng, "leaf")
    for _ in range(count):
        length = rng.uniform(0.12, 0.24)
        leaf = box(
            (length, 0.4 * length, 0.006), (0.5 * length, 0, 0), green * rng.uniform(0.8, 1.2)
        )
        leaf = leaf.turned("x", rng.uniform(-0.6, 0.6)).turned("y", rng.uniform(-1.0, 0.6))
        parts.append(
            leaf.moved(0, 0, pot + rng.uniform(0.3, 1.0) * height, yaw=rng.uniform(0, 6.3))
        )
    return Furniture((Part(CLUTTER, join(parts)),)).centered()


def make_carton(rng: np.random.Generator) -> Furniture:
    """Boxes, bags and suitcases on the floor; clutter."""
    size = tuple(rng.uniform((0.25, 0.25, 0.2), (0.5, 0.6, 0.5)))
    color = np.array([0.62, 0.48, 0.32]) if rng.random() < 0.5 else pick(rng, "fabric")
    mesh = box(size, (0, 0, 0), color) if rng.random() < 0.6 else cushion(size, (0, 0, 0), color)
    return Furniture((Part(CLUTTER, mesh),))


def make_washing_machine(rng: np.random.Generator) -> Furniture:
    """Front loader with a porthole."""
    white, depth, height = pick(rng, "ceramic"), rng.uniform(0.55, 0.62), 0.85
    door = cylinder(0.17, 0.04, (0, 0, 0), pick(rng, "dark"), segments=20, returns=SCREEN)
    door = door.turned("y", 0.5 * np.pi).moved(0.5 * depth, 0, 0.45)
    panel = box((0.02, 0.56, 0.1), (0.5 * depth + 0.01, 0, 0.72), pick(rng, "metal"))
    return single("otherfurniture", [box((depth, 0.6, height), (0, 0, 0), white), door, panel])


def make_stove(rng: np.random.Generator) -> Furniture:
    """Cooker with an oven door and four plates."""
    white, dark = pick(rng, rng.choice(["ceramic", "metal"])), pick(rng, "dark")
    height = rng.uniform(0.87, 0.92)
    parts = [box((0.58, 0.6, height), (0, 0, 0), white)]
    parts.append(box((0.02, 0.5, 0.4), (0.3, 0, 0.25), dark, SCREEN))
    parts.append(rod((0.33, -0.22, 0.7), (0.33, 0.22, 0.7), 0.025, pick(rng, "metal")))
    parts += [
        cylinder(0.08, 0.015, (sx * 0.14, sy * 0.15, height), dark, returns=BLACK)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    return single("otherfurniture", parts)


def make_rug(rng: np.random.Generator) -> Furniture:
    """Thin carpet of one or two colours; clutter, as in ScanNet."""
    depth, width = rng.uniform((1.0, 1.4), (1.6, 2.2))
    rug = box((depth, width, 0.008), (0, 0, 0), pick(rng, "fabric"))
    field = box((0.75 * depth, 0.8 * width, 0.009), (0, 0, 0), pick(rng, "linen"))
    return Furniture((Part(CLUTTER, join([rug, field])),))


def make_radiator(rng: np.random.Generator) -> Furniture:
    """Flat ribs that hang under a window."""
    width, height, low = rng.uniform(0.6, 1.2), rng.uniform(0.45, 0.6), 0.12
    y = np.arange(-0.5 * width, 0.5 * width, 0.06) + 0.03
    sizes = np.full((len(y), 3), [0.08, 0.045, height])
    centers = np.stack([np.zeros_like(y), y, np.full_like(y, low + 0.5 * height)], axis=1)
    ribs = boxes(sizes, centers, np.tile(pick(rng, "ceramic"), (len(y), 1)))
    feet = [box((0.03, 0.03, low), (0, s * 0.4 * width, 0), (0.8, 0.8, 0.8)) for s in (-1, 1)]
    return single("otherfurniture", [ribs, *feet])


def make_tv_stand(rng: np.random.Generator) -> Furniture:
    """Low board with a television on it."""
    depth, width, height = rng.uniform((0.38, 1.1, 0.4), (0.48, 1.8, 0.6))
    board = join(doors(rng, (depth, width, height), pick(rng, "wood"), plinth=0.05))
    span, dark = rng.uniform(0.9, 1.3), pick(rng, "dark")
    screen = box((0.04, span, 0.57 * span), (0, 0, height + 0.06), dark, SCREEN)
    foot = box((0.22, 0.4 * span, 0.06), (0, 0, height), dark)
    parts = (Part("otherfurniture", board), Part(CLUTTER, join([screen, foot])))
    return Furniture(parts).centered()


def make_picture(rng: np.random.Generator) -> Furniture:
    """Framed print of a few coloured fields, its back in the plane x = 0."""
    width, height = rng.uniform(0.35, 1.1), rng.uniform(0.35, 0.8)
    frame = box((0.025, width, height), (0.0125, 0, 0), pick(rng, "wood"))
    count = int(rng.integers(2, 6))
    edges = np.linspace(-0.44, 0.44, count + 1) * width
    sizes = np.stack([np.full(count, 0.006), np.diff(edges), np.full(count, 0.84 * height)], axis=1)
    y, z = 0.5 * (edges[1:] + edges[:-1]), np.full(count, 0.5 * height)
    fields = boxes(sizes, np.stack([np.full(count, 0.027), y, z], axis=1), vivid(rng, count))
    return Furniture((Part("picture", join([frame, fields])),))


def make_panel(rng: np.random.Generator, kind: str, width: Real, height: Real) -> Furniture:
    """Whiteboard or mirror on a wall; clutter."""
    color, returns = (
        ((0.93, 0.94, 0.95), 0.7) if kind == "whiteboard" else ((0.6, 0.65, 0.68), MIRROR)
    )
    face = box((0.01, width, height), (0.025, 0, 0), color, returns)
    frame = box((0.02, width + 0.04, height + 0.04), (0.01, 0, -0.02), pick(rng, "metal"))
    return Furniture((Part(CLUTTER, join([frame, face])),))


def make_curtain(rng: np.random.Generator, width: Real, low: Real, top: Real) -> Furniture:
    """Two cloths drawn to the sides of a window of this width, on one rail."""
    color, rail = pick(rng, "linen" if rng.random() < 0.6 else "fabric"), pick(rng, "metal")
    reach = 0.5 * width + 0.15
    gather = rng.uniform(0.2, 0.9) * reach
    spans = ((-reach, -reach + gather), (reach - gather, reach))
    cloths = [folds(rng, *span, 0.04, (low, top), color) for span in spans]
    bar = rod((0, -reach - 0.05, top), (0, reach + 0.05, top), 0.025, rail)
    parts = [Part("curtain", cloth) for cloth in cloths]
    return Furniture((*parts, Part(CLUTTER, bar)))


def things_on(rng: np.random.Generator, top: Top, use: str) -> Furniture:
    """What people leave on a surface: a monitor and keyboard, dishes, books, a lamp; clutter."""
    parts = []
    if use == "work":
        parts += _computer(rng)
    elif use == "night":
        parts.append(cylinder(0.06, 0.2, (0, 0, 0), pick(rng, "ceramic"), top_radius=0.03))
        parts.append(_hollow(0.12, 0.08, 0.2, 0.16, pick(rng, "linen")))
    room = np.array([top.depth, top.width]) - 0.3
    for _ in range(int(rng.integers(1, 5))):
        x, y = (rng.random(2) - 0.5) * np.maximum(room, 0.02)
        if rng.random() < 0.5:
            size = tuple(rng.uniform((0.14, 0.1, 0.02), (0.28, 0.2, 0.12)))
            item = box(size, (0, 0, 0), vivid(rng, 1)[0]).moved(yaw=rng.uniform(0, 3.1))
        else:
            item = cylinder(
                rng.uniform(0.03, 0.09), rng.uniform(0.05, 0.22), (0, 0, 0), vivid(rng, 1)[0]
            )
        parts.append(item.moved(x, y))
    return Furniture((Part(CLUTTER, join(parts)),)).moved(top.x, top.y, top.z)


def _computer(rng: np.random.Generator) -> list[Mesh]:
    dark, span = pick(rng, "dark"), rng.uniform(0.42, 0.65)
    y = rng.uniform(-0.2, 0.2)
    return [
        box((0.16, 0.22, 0.015), (-0.16, y, 0), dark),
        box((0.03, 0.05, 0.2), (-0.18, y, 0.015), dark),
        box((0.035, span, 0.6 * span), (-0.15, y, 0.1), dark, SCREEN),
        box((0.14, 0.42, 0.025), (0.12, y, 0), pick(rng, "plastic")),
    ]


def make_window(rng: np.random.Generator, width: Real, height: Real) -> Furniture:
    """Frame with sashes, glass and a sill; the opening starts at z = 0, centred on y = 0."""
    white, bar = pick(rng, "ceramic"), 0.06
    x = -0.08  # the glass lies behind the plane of the wall
    sides = [box((0.06, bar, height), (x, s * 0.5 * (width - bar), 0), white) for s in (-1, 1)]
    ends = [box((0.06, width, bar), (x, 0, z), white) for z in (0, height - bar)]
    count = max(1, round(width / 0.7))
    y = np.linspace(-0.5, 0.5, count + 1)[1:-1] * width
    sashes = [box((0.06, bar, height), (x, v, 0), white) for v in y]
    glass = box((0.01, width, height), (x - 0.01, 0, 0), (0.65, 0.75, 0.85), GLASS)
    sill = box((0.14, width + 0.06, 0.03), (-0.03, 0, -0.03), white)
    return Furniture((Part("window", join([*sides, *ends, *sashes, glass, sill])),))


def make_door(rng: np.random.Generator, width: Real, height: Real, swing: Real) -> Furniture:
    """Leaf in its frame, opened into the room by `swing` radians about its hinge."""
    color, metal = pick(rng, rng.choice(["wood", "paint"])), pick(rng, "metal")
    leaf = [box((0.04, width, height), (0, 0, 0), color)]
    if rng.random() < 0.5:
        insets = [(0.1, 0.4), (0.55, 0.38)]
        leaf += [
            box((0.055, 0.6 * width, b * height), (0, 0, a * height), color * 0.9)
            for a, b in insets
        ]
    leaf += [box((0.14, 0.11, 0.03), (0, 0.42 * width - 0.04, 1.0), metal)]
    hinge = (0.02, -0.5 * width, 0.0)
    door = join(leaf).turned("z", -swing, hinge) if swing else join(leaf).moved(-0.03)
    trim = [
        box((0.15, 0.06, height + 0.06), (-0.05, s * 0.5 * (width + 0.06), 0), color)
        for s in (-1, 1)
    ]
    trim.append(box((0.15, width + 0.12, 0.06), (-0.05, 0, height), color))
    return Furniture((Part("door", join([door, *trim])),))
