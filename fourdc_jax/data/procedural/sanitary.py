"""Toilets, sinks, bathtubs and shower curtains."""

import numpy as np

from fourdc_jax.data.procedural.furniture import Furniture, Part, Top, single
from fourdc_jax.data.procedural.palette import POLISHED, pick
from fourdc_jax.data.procedural.solids import (
    Color,
    Mesh,
    Pair,
    Real,
    Vector,
    box,
    cushion,
    cylinder,
    join,
    loft,
    ring,
    rod,
    sheet,
    vessel,
)
from fourdc_jax.data.procedural.storage import doors


def make_toilet(rng: np.random.Generator) -> Furniture:
    """Pedestal, bowl, lid up or down, cistern at the back."""
    length, width = rng.uniform(0.5, 0.58), rng.uniform(0.35, 0.4)
    rim = rng.uniform(0.36, 0.42)
    white = pick(rng, "ceramic")
    foot_length, foot = rng.uniform(0.55, 0.75) * length, rng.uniform(0.55, 0.75) * width
    outer = [
        ring((foot_length, foot), 0, center=(-0.06, 0)),
        ring((foot_length, 0.9 * foot), 0.4 * rim, center=(-0.06, 0)),
        ring((0.95 * length, 0.95 * width), 0.85 * rim),
        ring((length, width), rim),
    ]
    inner = [
        ring((length - 0.09, width - 0.1), rim),
        ring((0.55 * length, 0.55 * width), rim - 0.12),
        ring((0.25 * length, 0.25 * width), rim - 0.18),
    ]
    lid = loft(np.stack([ring((length, width), z) for z in (rim, rim + 0.02)]), white)
    if rng.random() < 0.5:
        hinge = (-0.42 * length, 0, rim + 0.02)
        lid = lid.turned("y", -np.radians(rng.uniform(95, 102)), hinge)
    depth, tank = rng.uniform(0.16, 0.2), rng.uniform(0.3, 0.4)
    x = -0.5 * length - 0.5 * depth - 0.04
    size = (depth, rng.uniform(0.36, 0.44), tank)
    cistern = cushion(size, (x, 0, rim), white, roundness=0.08)
    neck = box((0.3, 0.22, rim), (x + 0.1, 0, 0), white)
    return single("toilet", [vessel(outer, inner, white), lid, cistern, neck])


def basin(size: Vector, rim: Real, color: Color, *, squareness: Real) -> Mesh:
    """Bowl of outer size (depth, width, height) whose rim is at height `rim`."""
    depth, width, height = size
    low = rim - height
    outer = [(0.6, low), (0.92, rim - 0.4 * height), (1.0, rim)]
    inner = [(0.88, rim), (0.78, rim - 0.4 * height), (0.45, low + 0.02)]
    profiles = [
        [ring((s * depth, s * width), z, squareness=squareness) for s, z in profile]
        for profile in (outer, inner)
    ]
    return vessel(*profiles, color)


def tap(x: Real, z: Real, color: Color) -> list[Mesh]:
    """Spout that reaches from (x, z) to the front."""
    riser = rod((x, 0, z), (x, 0, z + 0.14), 0.03, color, returns=POLISHED)
    spout = rod((x, 0, z + 0.13), (x + 0.13, 0, z + 0.11), 0.025, color, returns=POLISHED)
    return [riser, spout]


def make_sink(rng: np.random.Generator) -> Furniture:
    """Wash basin on a pedestal, or set into a vanity cabinet."""
    depth, width = rng.uniform(0.42, 0.5), rng.uniform(0.48, 0.62)
    rim = rng.uniform(0.8, 0.88)
    white, metal = pick(rng, "ceramic"), pick(rng, "metal")
    bowl = basin((depth, width, 0.18), rim, white, squareness=rng.uniform(2.2, 6))
    taps = tap(-0.42 * depth, rim - 0.01, metal)
    if rng.random() < 0.45:
        stand = cylinder(0.09, rim - 0.16, (-0.05, 0, 0), white, top_radius=0.11)
        return single("sink", [bowl, *taps, stand])
    body = rim - 0.12
    cabinet = (depth + 0.04, width + rng.uniform(0.05, 0.4), body - 0.06)
    front = join(doors(rng, cabinet, pick(rng, "paint"), plinth=0.08))
    return Furniture((Part("sink", join([bowl, *taps])), Part("cabinet", front))).centered()


def make_bathtub(rng: np.random.Generator) -> Furniture:
    """Built-in tub with a straight apron, or a free-standing oval one; entered from the front."""
    depth, width, height = rng.uniform((0.7, 1.5, 0.45), (0.82, 1.8, 0.6))
    white, metal = pick(rng, "ceramic"), pick(rng, "metal")
    edge = rng.uniform(0.05, 0.09)
    inside = (depth - 2 * edge, width - 2 * edge)
    if rng.random() < 0.7:
        sharp, foot, segments = 40.0, 1.0, 32
    else:
        sharp, foot, segments = rng.uniform(2.2, 3.0), rng.uniform(0.75, 0.9), 24

    def section(size: Pair, z: Real, squareness: Real) -> np.ndarray:
        return ring(size, z, squareness=squareness, segments=segments)

    outer = [
        section((foot * depth, foot * width), 0, sharp),
        section((depth, width), height, sharp),
    ]
    round_ = min(sharp, 5.0)
    inner = [
        section(inside, height, round_),
        section((0.9 * inside[0], 0.92 * inside[1]), 0.5 * height, round_),
        section((0.7 * inside[0], 0.75 * inside[1]), 0.12, round_),
    ]
    spout = join(tap(0.0, height - 0.02, metal)).moved(yaw=0.5 * np.pi)
    spout = spout.moved(0, -0.5 * width + 0.5 * edge)
    return single("bathtub", [vessel(outer, inner, white), spout])


def make_shower_curtain(rng: np.random.Generator, width: Real) -> Furniture:
    """Cloth on a rail, drawn over a part of `width`."""
    top, low = rng.uniform(1.9, 2.05), rng.uniform(0.15, 0.3)
    drawn = rng.uniform(0.4, 0.95) * width
    start = -0.5 * width if rng.random() < 0.5 else 0.5 * width - drawn
    cloth = folds(rng, start, start + drawn, 0.03, (low, top), pick(rng, "linen"))
    rail = rod((0, -0.5 * width, top), (0, 0.5 * width, top), 0.025, pick(rng, "metal"))
    return Furniture((Part("shower curtain", join([cloth, rail])),))


def folds(
    rng: np.random.Generator,
    start: Real,
    stop: Real,
    amplitude: Real,
    z: Pair,
    color: Color,
) -> Mesh:
    """Hanging cloth along y whose folds swing in x."""
    y = np.arange(start, stop, 0.03)
    wave = rng.uniform(0.11, 0.2) * (1 + 0.15 * np.sin(5 * y))
    x = amplitude * rng.uniform(0.6, 1.0) * np.sin(2 * np.pi * y / wave + rng.uniform(0, 6))
    return sheet(np.stack([x, y], axis=1), z, 0.006, color)


def make_kitchen_counter(rng: np.random.Generator, width: Real) -> Furniture:
    """Run of base cabinets under a worktop with a sink let into it."""
    depth, height, board = 0.62, rng.uniform(0.86, 0.93), 0.04
    under = height - board
    stone, metal = pick(rng, "stone"), pick(rng, "metal")
    bowl_depth, bowl_width = 0.42, min(rng.uniform(0.45, 0.75), 0.5 * width)
    y = rng.uniform(-0.2, 0.2) * width
    left, right = y - 0.5 * bowl_width, y + 0.5 * bowl_width
    rim = 0.5 * (depth - bowl_depth)
    worktop = [
        box((depth, left + 0.5 * width, board), (0, 0.5 * (left - 0.5 * width), under), stone),
        box((depth, 0.5 * width - right, board), (0, 0.5 * (right + 0.5 * width), under), stone),
        box((rim, bowl_width, board), (0.5 * (depth - rim), y, under), stone),
        box((rim, bowl_width, board), (-0.5 * (depth - rim), y, under), stone),
        box((0.02, width, 0.08), (-0.5 * depth + 0.01, 0, height), stone),
    ]
    bowl = basin((bowl_depth, bowl_width, 0.19), height + 0.005, metal, squareness=12)
    sink = join([bowl, *tap(-0.25, height, metal)]).moved(0, y)
    base = join(_carcass(rng, (depth - 0.03, width - 0.01, under), left, right))
    parts = (Part("counter", join(worktop)), Part("sink", sink), Part("cabinet", base))
    return Furniture(parts, top=Top(0, right + 0.3, 0.4, 0.4, height))


def _carcass(rng: np.random.Generator, size: Vector, left: Real, right: Real) -> list[Mesh]:
    """Base cabinets with doors; the part under the sink is lower."""
    depth, width, height = size
    color = pick(rng, rng.choice(["wood", "paint"]))
    parts = []
    for low, high, drop in (
        (-0.5 * width, left, 0.0),
        (left, right, 0.2),
        (right, 0.5 * width, 0.0),
    ):
        if high - low > 0.05:
            block = join(doors(rng, (depth, high - low, height - drop), color, plinth=0.1))
            parts.append(block.moved(0, 0.5 * (low + high)))
    return parts
