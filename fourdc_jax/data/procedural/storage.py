"""Cabinets, dressers, night stands, bookshelves and refrigerators."""

import numpy as np

from fourdc_jax.data.procedural.furniture import Furniture, Top, single
from fourdc_jax.data.procedural.palette import POLISHED, pick, vivid
from fourdc_jax.data.procedural.solids import Color, Mesh, Real, Vector, box, boxes
from fourdc_jax.data.procedural.tables import drawers, frame_legs


def make_dresser(rng: np.random.Generator) -> Furniture:
    """Wide chest of drawers on a plinth or feet."""
    size = rng.uniform((0.42, 0.8, 0.75), (0.55, 1.5, 1.15))
    parts, height = _on_feet(rng, tuple(size), columns=int(rng.integers(1, 4)))
    return single("cabinet", parts, top=Top(0, 0, size[0], size[1], height))


def make_night_stand(rng: np.random.Generator) -> Furniture:
    """Small bedside chest: drawers, or one drawer above an open shelf."""
    depth, width, height = rng.uniform((0.35, 0.38, 0.42), (0.48, 0.55, 0.65))
    if rng.random() < 0.6:
        parts, height = _on_feet(rng, (depth, width, height), columns=1)
    else:
        wood = pick(rng, "wood")
        parts = frame_legs((depth, width), height - 0.2, 0.04, wood)
        parts.append(box((depth - 0.02, width - 0.02, 0.02), (0, 0, 0.12), wood))
        parts += drawers(rng, (depth, width, 0.18), (0, 0, height - 0.2), wood, columns=1, rows=1)
        parts.append(box((depth + 0.02, width + 0.02, 0.02), (0, 0, height - 0.02), wood))
    return single("cabinet", parts, top=Top(0, 0, depth, width, height))


def _on_feet(rng: np.random.Generator, size: Vector, *, columns: int) -> tuple[list[Mesh], float]:
    """Drawers under a top, on short legs or a plinth; also the height."""
    depth, width, height = size
    wood = pick(rng, "wood" if rng.random() < 0.7 else "paint")
    foot, top = rng.uniform(0.03, 0.14), 0.025
    parts = drawers(rng, (depth, width, height - foot - top), (0, 0, foot), wood, columns=columns)
    overhang = rng.uniform(0.0, 0.03)
    parts.append(box((depth, width + overhang, top), (0, 0, height - top), wood))
    if rng.random() < 0.5:
        parts += frame_legs((depth - 0.02, width), foot, 0.05, wood)
    else:
        parts.append(box((depth - 0.06, width - 0.02, foot), (-0.02, 0, 0), wood))
    return parts, height


def make_cabinet(rng: np.random.Generator, kind: str) -> Furniture:
    """A closed cabinet with doors: `low` sideboard, `tall` wardrobe, `file`, or `wall` hung."""
    low, high = {
        "low": ((0.38, 0.8, 0.7), (0.5, 1.6, 1.0)),
        "tall": ((0.5, 0.9, 1.8), (0.62, 1.8, 2.1)),
        "file": ((0.5, 0.4, 0.7), (0.62, 0.48, 1.35)),
        "wall": ((0.3, 0.6, 0.55), (0.36, 1.2, 0.75)),
    }[kind]
    depth, width, height = rng.uniform(low, high)
    color = pick(rng, "metal" if kind == "file" else rng.choice(["wood", "paint"]))
    if kind == "file":
        parts = drawers(rng, (depth, width, height), (0, 0, 0), color, columns=1)
    else:
        parts = doors(rng, (depth, width, height), color, plinth=0.0 if kind == "wall" else 0.08)
    top = Top(0, 0, depth, width, height) if height < 1.2 else None
    return single("cabinet", parts, top=top)


def doors(rng: np.random.Generator, size: Vector, color: Color, *, plinth: Real) -> list[Mesh]:
    """Carcass with a row of doors and handles."""
    depth, width, height = size
    front = 0.02
    body = (depth - front, width, height - plinth)
    parts = [box(body, (-0.5 * front, 0, plinth), color)]
    if plinth:
        parts.append(box((depth - 0.08, width - 0.02, plinth), (-0.03, 0, 0), color))
    count = max(1, round(width / rng.uniform(0.4, 0.55)))
    face = np.clip(np.asarray(color) * rng.uniform(0.9, 1.08), 0, 1)
    metal = pick(rng, "metal")
    cell = width / count
    for index in range(count):
        y = (index + 0.5) * cell - 0.5 * width
        panel = (front, cell - 0.01, height - plinth - 0.02)
        parts.append(box(panel, (0.5 * depth - 0.5 * front, y, plinth + 0.01), face))
        side = 1 if index % 2 == 0 else -1
        z = plinth + (height - plinth) * (0.5 if height > 1.2 else 0.75)
        parts.append(
            box((0.03, 0.02, 0.12), (0.5 * depth + 0.015, y + side * 0.4 * cell, z - 0.06), metal)
        )
    return parts


def make_bookshelf(rng: np.random.Generator) -> Furniture:
    """Open shelves between uprights, with or without a back, partly filled with books."""
    depth, width = rng.uniform(0.25, 0.38), rng.uniform(0.6, 1.3)
    height = rng.uniform(0.8, 2.1)
    board = rng.uniform(0.018, 0.03)
    wood = pick(rng, "wood" if rng.random() < 0.7 else "paint")
    count = max(2, round(height / rng.uniform(0.28, 0.4)))
    z = np.linspace(0.04, height - board, count + 1)  # bottom of each board
    y = 0.5 * (width - board)
    parts = [box((depth, board, height), (0, s * y, 0), wood) for s in (-1, 1)]
    parts += [box((depth, width - 2 * board, board), (0, 0, v), wood) for v in z]
    parts.append(box((depth - 0.03, width - 2 * board, 0.04), (0, 0, 0), wood))
    if rng.random() < 0.75:
        parts.append(box((0.01, width, height - 0.05), (-0.5 * depth + 0.005, 0, 0.05), wood))
    fill = rng.uniform(0.3, 1.0)
    for low, high in zip(z[:-1] + board, z[1:]):
        if rng.random() < fill:
            parts.append(_books(rng, depth, width - 2 * board, low, high - low))
    top = Top(0, 0, depth, width, height) if height < 1.2 else None
    return single("bookshelf", parts, top=top)


def _books(rng: np.random.Generator, depth: Real, width: Real, z: Real, space: Real) -> Mesh:
    """A row of upright books from one end of a shelf, with gaps."""
    count = max(3, int(width / 0.045))
    thickness = rng.uniform(0.02, 0.06, count)
    right = np.cumsum(thickness)
    kept = (right < rng.uniform(0.4, 1.0) * width) & (rng.random(count) < 0.93)
    kept[0] = True
    thickness, right = thickness[kept], right[kept]
    heights = np.minimum(rng.uniform(0.17, 0.3, len(right)), 0.95 * space)
    depths = np.minimum(rng.uniform(0.13, 0.22, len(right)), depth - 0.03)
    y = right - 0.5 * thickness - 0.5 * width
    if rng.random() < 0.5:
        y = -y
    x = -0.5 * depth + 0.02 + 0.5 * depths
    sizes = np.stack([depths, thickness, heights], axis=1)
    centers = np.stack([x, y, z + 0.5 * heights], axis=1)
    return boxes(sizes, centers, vivid(rng, len(right)))


def make_refrigerator(rng: np.random.Generator) -> Furniture:
    """One body, a freezer door above or below, two bar handles."""
    depth, width, height = rng.uniform((0.6, 0.58, 1.4), (0.72, 0.85, 1.85))
    steel = rng.random() < 0.4
    color, returns = pick(rng, "metal" if steel else "ceramic"), POLISHED if steel else 1.0
    door, split = 0.05, rng.choice([0.35, 0.68]) * height
    parts = [box((depth - door - 0.01, width, height), (-0.5 * (door + 0.01), 0, 0), color)]
    x = 0.5 * (depth - door)
    for low, high in ((0.05, split), (split + 0.01, height)):
        parts.append(box((door, width, high - low), (x, 0, low), color, returns))
        reach = min(0.5, 0.6 * (high - low))
        z = high - 0.08 - reach if low < 0.1 else low + 0.08
        grip = (x + 0.5 * door + 0.02, 0.42 * width, z)
        parts.append(box((0.04, 0.03, reach), grip, pick(rng, "metal")))
    return single("refrigerator", parts)
