"""Beds: a frame, a mattress, pillows and a cover."""

import numpy as np

from fourdc_jax.data.procedural.classes import CLUTTER
from fourdc_jax.data.procedural.furniture import Furniture, Part
from fourdc_jax.data.procedural.palette import pick
from fourdc_jax.data.procedural.solids import Mesh, Real, box, cushion, join
from fourdc_jax.data.procedural.tables import frame_legs


def make_bed(rng: np.random.Generator) -> Furniture:
    """Single or double; the headboard is at the back, the feet at the front."""
    width = rng.choice([rng.uniform(0.9, 1.1), rng.uniform(1.4, 1.85)], p=[0.4, 0.6])
    length = rng.uniform(1.95, 2.15)
    wood, cloth = pick(rng, "wood"), pick(rng, "fabric")
    frame = wood if rng.random() < 0.6 else cloth
    under, side = rng.uniform(0.08, 0.22), rng.uniform(0.12, 0.2)
    mattress = rng.uniform(0.16, 0.26)
    head = rng.uniform(0.75, 1.2)
    x_head = -0.5 * length - 0.03
    parts = [box((length, width, side), (0, 0, under), frame)]
    parts += frame_legs((length - 0.05, width - 0.05), under, 0.07, wood)
    parts.append(box((0.06, width + 0.04, head), (x_head, 0, 0), frame))
    if rng.random() < 0.35:
        foot = under + side + rng.uniform(0.05, 0.35)
        parts.append(box((0.05, width + 0.04, foot), (0.5 * length + 0.025, 0, 0), frame))
    top = under + side
    size = (length - 0.04, width - 0.04, mattress)
    parts.append(cushion(size, (0, 0, top), pick(rng, "linen"), roundness=0.25, squareness=10))
    parts.append(_cover(rng, length, width, top, mattress))
    pillows = _pillows(rng, length, width, top + mattress)
    return Furniture((Part("bed", join(parts)), Part(CLUTTER, join(pillows)))).centered()


def _cover(rng: np.random.Generator, length: Real, width: Real, z: Real, mattress: Real) -> Mesh:
    """Blanket over the foot end that hangs a little over the sides."""
    reach = rng.uniform(0.4, 0.72) * length
    size = (reach, width + 0.03, 0.75 * mattress + 0.05)
    base = (0.5 * (length - reach) - 0.01, 0, z + 0.25 * mattress)
    return cushion(size, base, pick(rng, "linen"), roundness=0.3, squareness=9)


def _pillows(rng: np.random.Generator, length: Real, width: Real, z: Real) -> list[Mesh]:
    count = 1 if width < 1.2 else 2
    color, x = pick(rng, "linen"), -0.5 * length + 0.3
    y = (np.arange(count) + 0.5) * (width / count) - 0.5 * width
    size = (0.4, min(0.65, 0.85 * width / count), rng.uniform(0.1, 0.15))
    pillow = cushion(size, (0, 0, 0), color, roundness=0.45, squareness=3.5)
    turned = [pillow.moved(yaw=rng.normal(0, 0.12)) for _ in y]
    return [m.moved(x + rng.normal(0, 0.02), v, z - 0.01) for m, v in zip(turned, y)]
