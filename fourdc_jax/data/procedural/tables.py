"""Tables and desks: tops on legs, pedestals, panels or drawers, with places to sit."""

from dataclasses import replace

import numpy as np

from fourdc_jax.data.procedural.furniture import Furniture, Seat, Top, single
from fourdc_jax.data.procedural.palette import GLASS, pick
from fourdc_jax.data.procedural.solids import (
    OPAQUE,
    Color,
    Mesh,
    Pair,
    Real,
    Vector,
    box,
    cylinder,
    loft,
    ring,
    rod,
)

SEAT_PITCH = 0.62  # metres of edge that a sitting person takes


def make_table(rng: np.random.Generator, use: str | None = None) -> Furniture:
    """A table for the named use (dining, coffee, side, student, conference), or for any."""
    use = use or str(rng.choice(["dining", "dining", "coffee", "side", "conference"]))
    if use == "dining" and rng.random() < 0.3:
        return _round_table(rng, rng.uniform(0.8, 1.25), rng.uniform(0.71, 0.77))
    low, high = {
        "dining": ((0.7, 1.1, 0.71), (0.95, 1.9, 0.78)),
        "coffee": ((0.45, 0.8, 0.35), (0.7, 1.2, 0.48)),
        "side": ((0.38, 0.38, 0.45), (0.55, 0.6, 0.6)),
        "student": ((0.5, 0.65, 0.7), (0.6, 1.3, 0.76)),
        "conference": ((0.9, 1.8, 0.71), (1.2, 2.6, 0.76)),
    }[use]
    depth, width, height = rng.uniform(low, high)
    table = _rectangular_table(rng, depth, width, height)
    if use == "student":  # one side only
        return replace(table, seats=tuple(s for s in table.seats if s.x > 0))
    return table if use in ("dining", "conference") else replace(table, seats=())


def _round_table(rng: np.random.Generator, diameter: Real, height: Real) -> Furniture:
    wood, thickness = pick(rng, "wood"), rng.uniform(0.025, 0.05)
    radius = 0.5 * diameter
    under = height - thickness
    parts = [cylinder(radius, thickness, (0, 0, under), wood, segments=24)]
    if rng.random() < 0.6:  # pedestal
        foot = rng.uniform(0.45, 0.6) * radius
        parts.append(cylinder(foot, 0.04, (0, 0, 0), wood, top_radius=0.8 * foot, segments=16))
        parts.append(cylinder(0.06, under - 0.04, (0, 0, 0.04), wood, top_radius=0.09))
        free = radius - foot
    else:
        reach = 0.6 * radius
        parts += frame_legs((2 * reach, 2 * reach), under, rng.uniform(0.04, 0.06), wood)
        free = 0.1
    count = int(2 * np.pi * radius / 0.85)
    angles = np.arange(count) * (2 * np.pi / count)
    seats = tuple(
        Seat(radius * np.cos(a), radius * np.sin(a), a + np.pi, 0.5, min(free, 0.25))
        for a in angles
    )
    side = 1.2 * radius
    return single("table", parts, seats=seats, top=Top(0, 0, side, side, height))


def _rectangular_table(
    rng: np.random.Generator, depth: Real, width: Real, height: Real
) -> Furniture:
    wood = pick(rng, "wood" if rng.random() < 0.75 else "paint")
    thickness = rng.uniform(0.02, 0.045)
    under, leg = height - thickness, rng.uniform(0.035, 0.08)
    top = _tabletop(rng, depth, width, thickness, under, wood)
    style = rng.choice(["legs", "panels", "trestle"], p=[0.6, 0.2, 0.2])
    if style == "legs":
        base = frame_legs((depth - 0.04, width - 0.04), under, leg, wood)
        if rng.random() < 0.6:
            base += _apron(depth - 0.1, width - 0.1, under, rng.uniform(0.05, 0.1), wood)
        if height < 0.6 and rng.random() < 0.5:
            base.append(box((depth - 0.12, width - 0.12, 0.02), (0, 0, 0.14), wood))
    elif style == "panels":
        y = 0.5 * width - 0.08
        base = [box((depth - 0.1, 0.04, under), (0, s * y, 0), wood) for s in (-1, 1)]
        base.append(box((0.03, 2 * y, 0.12), (0, 0, under - 0.2), wood))
    else:
        y = 0.5 * width - 0.2
        base = [box((0.7 * depth, 0.07, 0.06), (0, s * y, 0), wood) for s in (-1, 1)]
        base += [box((0.1, 0.07, under - 0.06), (0, s * y, 0.06), wood) for s in (-1, 1)]
        base.append(box((0.05, 2 * y, 0.08), (0, 0, 0.3), wood))
    margin = 0.26 if style == "trestle" else max(0.12, leg + 0.04)
    seats = _edge_seats(depth, width, margin, ends=style == "legs")
    return single("table", [top, *base], seats=seats, top=Top(0, 0, depth, width, height))


def _tabletop(
    rng: np.random.Generator, depth: Real, width: Real, thickness: Real, z: Real, wood: Color
) -> Mesh:
    """Rectangular, rounded or glass top."""
    style = rng.random()
    if style < 0.65:
        return box((depth, width, thickness), (0, 0, z), wood)
    squareness = rng.uniform(3.5, 10)
    rings = [
        ring((depth, width), h, squareness=squareness, segments=24) for h in (z, z + thickness)
    ]
    return loft(np.stack(rings), wood, GLASS if style > 0.95 else OPAQUE)


def frame_legs(size: Pair, height: Real, thickness: Real, color: Color) -> list[Mesh]:
    """Straight square legs at the four corners of a rectangle, inside it."""
    x, y = 0.5 * (size[0] - thickness), 0.5 * (size[1] - thickness)
    return [
        box((thickness, thickness, height), (sx * x, sy * y, 0), color)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def _apron(depth: Real, width: Real, under: Real, height: Real, color: Color) -> list[Mesh]:
    z = under - height
    long = [box((0.02, width, height), (s * 0.5 * depth, 0, z), color) for s in (-1, 1)]
    short = [box((depth, 0.02, height), (0, s * 0.5 * width, z), color) for s in (-1, 1)]
    return long + short


def _edge_seats(depth: Real, width: Real, margin: Real, *, ends: bool) -> tuple[Seat, ...]:
    """Seats along both long edges, and one at each end of a wide table."""
    free = width - 2 * margin
    count = max(1, int(free / SEAT_PITCH))
    gap = free / count
    y = (np.arange(count) + 0.5) * gap - 0.5 * free
    knee = min(0.25, 0.35 * depth)
    seats = [Seat(s * 0.5 * depth, v, np.pi * (s > 0), gap, knee) for v in y for s in (1, -1)]
    if ends and depth > 0.7:
        seats += [
            Seat(0, s * 0.5 * width, -s * 0.5 * np.pi, depth - 2 * margin, 0.2) for s in (-1, 1)
        ]
    return tuple(seats)


def make_desk(rng: np.random.Generator) -> Furniture:
    """A desk on legs, panels or drawer pedestals; its user sits at the front."""
    depth, width = rng.uniform(0.6, 0.8), rng.uniform(1.1, 1.7)
    height, thickness = rng.uniform(0.71, 0.77), rng.uniform(0.02, 0.04)
    wood = pick(rng, "wood" if rng.random() < 0.7 else "paint")
    body = pick(rng, "paint") if rng.random() < 0.4 else wood
    under = height - thickness
    parts = [box((depth, width, thickness), (0, 0, under), wood)]
    left, right = -0.5 * width, 0.5 * width  # the knee room shrinks from both ends
    style = rng.choice(["metal", "panels", "one pedestal", "two pedestals"])
    if style == "metal":
        parts += _metal_frame(depth, width, under, pick(rng, "metal"))
        left, right = left + 0.08, right - 0.08
    if style in ("panels", "one pedestal"):
        parts.append(box((depth - 0.03, 0.03, under), (0, left + 0.02, 0), body))
        left += 0.04
    if style == "panels":
        parts.append(box((depth - 0.03, 0.03, under), (0, right - 0.02, 0), body))
        right -= 0.04
    pedestal = rng.uniform(0.36, 0.45)
    for name, side in (("one pedestal", 1), ("two pedestals", 1), ("two pedestals", -1)):
        if style == name:
            center = side * 0.5 * (width - pedestal) - side * 0.01
            parts += drawers(rng, (depth - 0.04, pedestal, under), (0, center, 0), body, columns=1)
            right, left = (right - pedestal, left) if side > 0 else (right, left + pedestal)
    if style != "metal" and rng.random() < 0.7:  # modesty panel
        drop = rng.uniform(0.3, 0.9) * under
        parts.append(box((0.02, width - 0.06, drop), (-0.5 * depth + 0.05, 0, under - drop), body))
    seat = Seat(0.5 * depth, 0.5 * (left + right), np.pi, right - left - 0.04, 0.5 * depth)
    return single("desk", parts, seats=(seat,), top=Top(0, 0, depth, width, height))


def _metal_frame(depth: Real, width: Real, under: Real, metal: Color) -> list[Mesh]:
    """T-shaped feet with a crossbar, as under office desks."""
    parts = []
    for side in (-1, 1):
        y = side * (0.5 * width - 0.08)
        parts.append(box((depth - 0.06, 0.06, 0.04), (0, y, 0), metal))
        parts.append(box((0.08, 0.04, under - 0.04), (-0.1, y, 0.04), metal))
    y = 0.5 * width - 0.08
    parts.append(rod((-0.1, -y, under - 0.08), (-0.1, y, under - 0.08), 0.05, metal))
    return parts


def drawers(
    rng: np.random.Generator,
    size: Vector,
    base: Vector,
    color: Color,
    *,
    columns: int,
    rows: int | None = None,
) -> list[Mesh]:
    """Chest with fronts and handles: the body of night stands, dressers, files and pedestals."""
    depth, width, height = size
    rows = rows or int(np.clip(round(height / rng.uniform(0.16, 0.26)), 1, 6))
    front = 0.018
    parts = [box((depth - front, width, height), (base[0] - 0.5 * front, base[1], base[2]), color)]
    face = np.clip(np.asarray(color) * rng.uniform(0.88, 1.08), 0, 1)
    cell_y, cell_z = width / columns, (height - 0.02) / rows
    gap, x = 0.012, base[0] + 0.5 * depth - 0.5 * front
    metal, knob = pick(rng, "metal"), rng.random() < 0.4
    for column in range(columns):
        y = base[1] + (column + 0.5) * cell_y - 0.5 * width
        for row in range(rows):
            z = base[2] + 0.01 + row * cell_z
            parts.append(box((front, cell_y - gap, cell_z - gap), (x, y, z + 0.5 * gap), face))
            handle = (0.025, 0.03 if knob else 0.35 * cell_y, 0.025)
            parts.append(box(handle, (x + 0.02, y, z + 0.5 * cell_z - 0.01), metal))
    return parts
