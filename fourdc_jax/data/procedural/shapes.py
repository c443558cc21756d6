"""Procedural shapes: complete furniture of the eight categories that move through rooms."""

import numpy as np

from fourdc_jax.data.procedural.furniture import Furniture
from fourdc_jax.data.procedural.sanitary import make_bathtub, make_toilet
from fourdc_jax.data.procedural.seating import make_chair, make_sofa
from fourdc_jax.data.procedural.solids import sample_surface
from fourdc_jax.data.procedural.storage import make_dresser, make_night_stand
from fourdc_jax.data.procedural.tables import make_desk, make_table
from fourdc_jax.data.shape import Shape

MAKERS = {
    "chair": make_chair,
    "desk": make_desk,
    "dresser": make_dresser,
    "night_stand": make_night_stand,
    "sofa": make_sofa,
    "table": make_table,
    "bathtub": make_bathtub,
    "toilet": make_toilet,
}


def make_shape(category: str, seed: int, *, num_points: int = 4096) -> Shape:
    """Shape number `seed` of a category: points drawn uniformly from the whole surface.

    In metres, standing on z = 0, centred in plan, front towards +x. The surface is that of all its
    solids, seen from outside or not, as in CAD models. The same arguments give the same points.

    Raises:
      ValueError: the category is not one of `MAKERS`.
    """
    furniture, rng = make_furniture(category, seed)
    points, _ = sample_surface(furniture.mesh, num_points, rng)
    return Shape(f"{category}_{seed:06d}", category, points.astype(np.float32))


def make_furniture(category: str, seed: int) -> tuple[Furniture, np.random.Generator]:
    """The furniture behind a shape, and the generator that drew it."""
    if category not in MAKERS:
        raise ValueError(
            f"procedural shapes have the categories {', '.join(MAKERS)}; got {category!r}"
        )
    rng = np.random.default_rng([seed, list(MAKERS).index(category)])
    return MAKERS[category](rng), rng
