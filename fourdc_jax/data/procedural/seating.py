"""Chairs of six families, and sofas."""

import numpy as np

from fourdc_jax.data.procedural.furniture import Furniture, single
from fourdc_jax.data.procedural.palette import BLACK, pick
from fourdc_jax.data.procedural.solids import (
    Color,
    Mesh,
    Pair,
    Real,
    box,
    boxes,
    cushion,
    cylinder,
    rod,
)

CHAIR_FAMILIES = ("dining", "office", "armchair", "stool", "shell", "folding")


def make_chair(rng: np.random.Generator, family: str | None = None) -> Furniture:
    """A chair of the named family, or of any."""
    family = family or str(rng.choice(CHAIR_FAMILIES))
    makers = {
        "dining": _dining,
        "office": _office,
        "armchair": _armchair,
        "stool": _stool,
        "shell": _shell,
        "folding": _folding,
    }
    return single("chair", makers[family](rng))


def _legs(size: Pair, height: Real, thickness: Real, splay: Real, color: Color) -> list[Mesh]:
    """Four legs at the corners of a seat or table; `splay` moves the feet outwards."""
    x, y = 0.5 * size[0] - thickness, 0.5 * size[1] - thickness
    return [
        rod((sx * (x + splay), sy * (y + splay), 0), (sx * x, sy * y, height), thickness, color)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def _back(
    rng: np.random.Generator, depth: Real, width: Real, seat: Real, height: Real, color: Color
) -> list[Mesh]:
    """Wooden back of uprights with a panel, slats or rungs, leaning backwards."""
    lean = rng.uniform(0.05, 0.2)
    x = -0.5 * depth + 0.02
    posts = [
        box((0.035, 0.035, height), (x, s * (0.5 * width - 0.02), seat), color) for s in (-1, 1)
    ]
    inner = width - 0.07
    style = rng.integers(3)
    if style == 0:  # panel
        low = rng.uniform(0.05, 0.6) * height
        filling = [box((0.02, inner, height - low), (x, 0, seat + low), color)]
    elif style == 1:  # vertical slats
        count = int(rng.integers(3, 7))
        y = np.linspace(-0.42, 0.42, count) * inner
        slats = [box((0.015, 0.03, height - 0.06), (x, v, seat), color) for v in y]
        filling = [*slats, box((0.025, inner, 0.07), (x, 0, seat + height - 0.07), color)]
    else:  # rungs
        count = int(rng.integers(2, 5))
        z = seat + np.linspace(0.35, 0.85, count) * height
        filling = [box((0.018, inner, 0.06), (x, 0, v), color) for v in z]
    return [m.turned("y", -lean, (x, 0, seat)) for m in (*posts, *filling)]


def _dining(rng: np.random.Generator) -> list[Mesh]:
    depth, width = rng.uniform(0.38, 0.46), rng.uniform(0.38, 0.48)
    seat, back = rng.uniform(0.43, 0.48), rng.uniform(0.38, 0.55)
    wood = pick(rng, "wood" if rng.random() < 0.7 else "paint")
    parts = _legs((depth, width), seat - 0.04, rng.uniform(0.03, 0.045), 0.0, wood)
    if rng.random() < 0.5:
        parts.append(cushion((depth, width, 0.06), (0, 0, seat - 0.04), pick(rng, "fabric")))
    else:
        parts.append(box((depth, width, 0.035), (0, 0, seat - 0.04), wood))
    if rng.random() < 0.3:
        parts += _arms(depth, width, seat, rng.uniform(0.17, 0.22), 0.03, wood)
    return parts + _back(rng, depth, width, seat, back, wood)


def _arms(
    depth: Real, width: Real, seat: Real, height: Real, thickness: Real, color: Color
) -> list[Mesh]:
    """Thin armrests on posts."""
    y, length = 0.5 * width + 0.5 * thickness, 0.8 * depth
    rests = [
        box((length, thickness + 0.02, 0.025), (-0.05 * depth, s * y, seat + height), color)
        for s in (-1, 1)
    ]
    posts = [
        box((0.03, thickness, height + 0.05), (0.25 * depth, s * y, seat - 0.05), color)
        for s in (-1, 1)
    ]
    return rests + posts


def _office(rng: np.random.Generator) -> list[Mesh]:
    depth, width = rng.uniform(0.45, 0.52), rng.uniform(0.46, 0.54)
    seat, back = rng.uniform(0.44, 0.54), rng.uniform(0.45, 0.7)
    cloth, plastic = pick(rng, "fabric"), pick(rng, "dark")
    radius = rng.uniform(0.28, 0.34)
    spokes = rng.uniform(0, 2 * np.pi) + np.arange(5) * (2 * np.pi / 5)
    tips = radius * np.stack([np.cos(spokes), np.sin(spokes)], axis=1)
    parts = [rod((0, 0, 0.12), (x, y, 0.07), 0.045, plastic, returns=BLACK) for x, y in tips]
    parts += [cylinder(0.028, 0.06, (x, y, 0), plastic, segments=8, returns=BLACK) for x, y in tips]
    parts.append(cylinder(0.03, seat - 0.18, (0, 0, 0.1), plastic, segments=8, returns=BLACK))
    parts.append(cushion((depth, width, 0.09), (0, 0, seat - 0.08), cloth))
    rest = cushion(
        (0.08, 0.9 * width, back), (-0.5 * depth + 0.02, 0, seat + 0.1), cloth, roundness=0.1
    )
    spine = box((0.03, 0.08, 0.3), (-0.5 * depth - 0.03, 0, seat - 0.05), plastic)
    parts += [
        m.turned("y", -rng.uniform(0.08, 0.2), (-0.5 * depth, 0, seat)) for m in (rest, spine)
    ]
    if rng.random() < 0.7:
        parts += _arms(depth, width, seat, rng.uniform(0.18, 0.24), 0.04, plastic)
    return parts


def _armchair(rng: np.random.Generator) -> list[Mesh]:
    depth, width = rng.uniform(0.75, 0.9), rng.uniform(0.75, 0.95)
    return _upholstered(rng, depth, width, seats=1)


def _stool(rng: np.random.Generator) -> list[Mesh]:
    size, seat = rng.uniform(0.32, 0.42), rng.uniform(0.42, 0.5)
    wood = pick(rng, "wood")
    if rng.random() < 0.5:
        parts = [cylinder(0.5 * size, 0.04, (0, 0, seat - 0.04), wood)]
    else:
        parts = [cushion((size, size, 0.07), (0, 0, seat - 0.07), pick(rng, "fabric"))]
    legs = _legs((0.75 * size, 0.75 * size), seat - 0.05, 0.03, rng.uniform(0.02, 0.06), wood)
    rung = 0.35 * size
    return [*parts, *legs, box((0.02, 2 * rung, 0.02), (0, 0, 0.2), wood)]


def _shell(rng: np.random.Generator) -> list[Mesh]:
    width, seat = rng.uniform(0.44, 0.5), rng.uniform(0.43, 0.47)
    depth, back = rng.uniform(0.42, 0.47), rng.uniform(0.34, 0.42)
    plastic, metal = pick(rng, "plastic"), pick(rng, "metal")
    parts = _legs((0.8 * depth, 0.8 * width), seat - 0.02, 0.025, rng.uniform(0.03, 0.07), metal)
    parts.append(cushion((depth, width, 0.04), (0, 0, seat - 0.03), plastic, squareness=3.5))
    rest = cushion((back, width, 0.03), (0, 0, 0), plastic, squareness=3.5)
    lean = 0.5 * np.pi - rng.uniform(0.15, 0.3)
    parts.append(
        rest.turned("y", lean).moved(-0.5 * depth - 0.03, 0, seat + 0.5 * back * np.sin(lean))
    )
    return parts


def _folding(rng: np.random.Generator) -> list[Mesh]:
    width, seat, depth = rng.uniform(0.42, 0.46), rng.uniform(0.43, 0.46), rng.uniform(0.38, 0.42)
    metal, panel = pick(rng, "metal"), pick(rng, "plastic")
    top, y = rng.uniform(0.76, 0.84), 0.5 * width
    parts = [box((depth, width - 0.06, 0.025), (0, 0, seat - 0.025), panel)]
    for side in (-y, y):
        parts.append(rod((0.5 * depth, side, 0), (-0.5 * depth - 0.06, side, top), 0.025, metal))
        parts.append(rod((-0.5 * depth, side, 0), (0.4 * depth, side, seat), 0.025, metal))
    parts.append(box((0.02, width, 0.2), (-0.5 * depth - 0.02, 0, top - 0.22), panel))
    return parts


def make_sofa(rng: np.random.Generator) -> Furniture:
    """Two or three seats, sometimes with a chaise longue on one side."""
    seats = int(rng.integers(2, 4))
    width = seats * rng.uniform(0.58, 0.68) + rng.uniform(0.25, 0.45)
    depth = rng.uniform(0.8, 0.95)
    parts = _upholstered(rng, depth, width, seats=seats, chaise=rng.random() < 0.2)
    return single("sofa", parts)


def _upholstered(
    rng: np.random.Generator, depth: Real, width: Real, *, seats: int, chaise: bool = False
) -> list[Mesh]:
    """Base, armrests, back, seat and back cushions; all that an armchair and a sofa share."""
    cloth = pick(rng, "fabric")
    accent = np.clip(cloth + rng.uniform(-0.06, 0.06), 0, 1)
    foot = rng.uniform(0.03, 0.12)
    seat, back = rng.uniform(0.38, 0.46), rng.uniform(0.72, 0.92)
    arm, arm_height = rng.uniform(0.1, 0.2), rng.uniform(0.52, 0.66)
    back_depth = rng.uniform(0.14, 0.22)
    base = 0.55 * (seat - foot)
    inner = width - 2 * arm
    parts = [box((depth, width, base), (0, 0, foot), cloth)]
    parts += [
        cushion(
            (depth, arm, arm_height - foot),
            (0, s * 0.5 * (width - arm), foot),
            cloth,
            roundness=0.15,
        )
        for s in (-1, 1)
    ]
    x = -0.5 * depth + 0.5 * back_depth
    parts.append(cushion((back_depth, width, back - foot), (x, 0, foot), cloth, roundness=0.12))
    x_seat, seat_depth = 0.5 * back_depth, depth - back_depth
    y = (np.arange(seats) + 0.5) * (inner / seats) - 0.5 * inner
    top = foot + base
    for v in y:
        size = (seat_depth, inner / seats - 0.01, seat - top)
        parts.append(cushion(size, (x_seat, v, top), accent))
        lean = cushion((0.14, inner / seats - 0.03, back - seat), (0, 0, 0), accent)
        lean = lean.turned("y", -rng.uniform(0.1, 0.25))
        parts.append(lean.moved(x_seat - 0.5 * seat_depth + 0.1, v, seat))
    if chaise:
        side = rng.choice([-1, 1])
        size = (rng.uniform(0.6, 0.8), arm + inner / seats, seat - foot)
        parts.append(
            cushion(size, (0.5 * (depth + size[0]), side * 0.5 * (width - size[1]), foot), accent)
        )
    feet = np.array([[sx, sy] for sx in (-1, 1) for sy in (-1, 1)]) * [
        0.5 * depth - 0.06,
        0.5 * width - 0.06,
    ]
    centers = np.column_stack([feet, np.full(4, 0.5 * foot)])
    parts.append(boxes(np.full((4, 3), [0.05, 0.05, foot]), centers, np.full((4, 3), 0.15)))
    return parts
