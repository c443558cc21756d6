"""What stands in an office, a living room, a bedroom, a kitchen, a bathroom and a classroom.

Each type of room has anchors, the large pieces that shape it, and a filling: what comes to the
walls after a part of the floor has been reserved.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fourdc_jax.data.procedural.accessories import (
    make_bin,
    make_carton,
    make_floor_lamp,
    make_plant,
    make_rug,
    make_tv_stand,
    make_washing_machine,
)
from fourdc_jax.data.procedural.building import add_panel
from fourdc_jax.data.procedural.groups import (
    at_wall,
    bed_group,
    class_rows,
    corner_chair,
    desk_group,
    kitchen_run,
    sofa_group,
    table_group,
    tub_group,
)
from fourdc_jax.data.procedural.layout import (
    Layout,
    place_at_wall,
    place_free,
    prism_of,
    random_poses,
)
from fourdc_jax.data.procedural.sanitary import make_sink, make_toilet
from fourdc_jax.data.procedural.seating import make_chair
from fourdc_jax.data.procedural.storage import (
    make_bookshelf,
    make_cabinet,
    make_dresser,
    make_night_stand,
)
from fourdc_jax.data.procedural.tables import make_table


def office(layout: Layout, rng: np.random.Generator) -> None:
    """Desks, sometimes a meeting table."""
    for _ in range(int(rng.integers(2, 5))):
        desk_group(layout, rng)
    if rng.random() < 0.4:
        table_group(layout, "conference", 6, rng)


def fill_office(layout: Layout, rng: np.random.Generator) -> None:
    """Shelves, files, sometimes a sofa."""
    for _ in range(int(rng.integers(1, 4))):
        at_wall(layout, make_bookshelf(rng), rng)
    for _ in range(int(rng.integers(1, 4))):
        at_wall(layout, make_cabinet(rng, str(rng.choice(["file", "low", "tall"]))), rng)
    if rng.random() < 0.3:
        sofa_group(layout, rng)
    add_panel(layout, "whiteboard", (rng.uniform(1.0, 1.8), rng.uniform(0.8, 1.1)), 1.0, rng)


def lay_rug(layout: Layout, rng: np.random.Generator) -> None:
    """A rug somewhere on the floor; furniture may stand on it."""
    rug = make_rug(rng)
    poses = random_poses(layout, 32, rng, square=True)
    inside = layout.fits_inside(prism_of(rug, poses))
    if inside.any():
        layout.add_things(rug, poses[np.argmax(inside)])


def living_room(layout: Layout, rng: np.random.Generator) -> None:
    """Sofas with a low table, often a dining table."""
    for _ in range(1 + (rng.random() < 0.4)):
        sofa_group(layout, rng)
    if rng.random() < 0.7:
        table_group(layout, "dining", int(rng.integers(2, 7)), rng)


def fill_living_room(layout: Layout, rng: np.random.Generator) -> None:
    """A rug, a television, shelves, a sideboard, armchairs, lamps."""
    if rng.random() < 0.6:
        lay_rug(layout, rng)
    at_wall(layout, make_tv_stand(rng), rng, front=0.6)
    for _ in range(int(rng.integers(1, 4))):
        at_wall(layout, make_bookshelf(rng), rng)
    at_wall(layout, make_cabinet(rng, "low"), rng)
    for _ in range(int(rng.integers(1, 3))):
        corner_chair(layout, rng)
    at_wall(layout, make_table(rng, "side"), rng, front=0.0, use="night")
    at_wall(layout, make_floor_lamp(rng), rng, front=0.0)


def bedroom(layout: Layout, rng: np.random.Generator) -> None:
    """Beds with night stands, a wardrobe."""
    for _ in range(1 + (rng.random() < 0.35)):
        bed_group(layout, rng)
    at_wall(layout, make_cabinet(rng, "tall"), rng)


def fill_bedroom(layout: Layout, rng: np.random.Generator) -> None:
    """A rug, dressers, often a desk, shelves, an armchair, a lamp, a mirror."""
    if rng.random() < 0.4:
        lay_rug(layout, rng)
    for _ in range(int(rng.integers(1, 3))):
        at_wall(layout, make_dresser(rng), rng)
    if rng.random() < 0.8:
        desk_group(layout, rng)
    if rng.random() < 0.7:
        at_wall(layout, make_bookshelf(rng), rng)
    for _ in range(int(rng.integers(0, 3))):
        corner_chair(layout, rng)
    if rng.random() < 0.3:
        at_wall(layout, make_tv_stand(rng), rng)
    at_wall(layout, make_floor_lamp(rng), rng, front=0.0)
    if rng.random() < 0.5:
        add_panel(layout, "mirror", (rng.uniform(0.4, 0.8), rng.uniform(1.0, 1.5)), 0.4, rng)


def kitchen(layout: Layout, rng: np.random.Generator) -> None:
    """A counter with a sink, cooker and refrigerator, a table with chairs."""
    kitchen_run(layout, rng)
    table_group(layout, "dining", int(rng.integers(2, 7)), rng, at_side=rng.random() < 0.3)


def fill_kitchen(layout: Layout, rng: np.random.Generator) -> None:
    """Cupboards, a bin, sometimes a washing machine."""
    for kind in rng.choice(["low", "tall"], int(rng.integers(1, 3))):
        at_wall(layout, make_cabinet(rng, str(kind)), rng)
    if rng.random() < 0.3:
        at_wall(layout, make_washing_machine(rng), rng)
    at_wall(layout, make_bin(rng), rng, front=0.0)


def bathroom(layout: Layout, rng: np.random.Generator) -> None:
    """Bathtub with a curtain, toilet, one or two sinks."""
    tub_group(layout, rng)
    at_wall(layout, make_toilet(rng), rng, front=0.5)
    for _ in range(1 + (rng.random() < 0.4)):
        at_wall(layout, make_sink(rng), rng, front=0.5)


def fill_bathroom(layout: Layout, rng: np.random.Generator) -> None:
    """Mirror, washing machine, cupboards, shelf, stool, baskets."""
    add_panel(layout, "mirror", (rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.9)), 1.1, rng)
    if rng.random() < 0.7:
        at_wall(layout, make_washing_machine(rng), rng)
    for kind in ("low", "wall"):
        z = 1.3 if kind == "wall" else 0.0
        place_at_wall(layout, make_cabinet(rng, kind), rng, z=z, gap=0.01)
    if rng.random() < 0.3:
        at_wall(layout, make_bookshelf(rng), rng)
    for _ in range(2):
        at_wall(layout, make_bin(rng), rng, front=0.0)
    place_free(layout, make_chair(rng, "stool"), rng, square=False)


def fill_classroom(layout: Layout, rng: np.random.Generator) -> None:
    """A teacher's desk, shelves, cupboards."""
    desk_group(layout, rng)
    for _ in range(int(rng.integers(1, 3))):
        at_wall(layout, make_bookshelf(rng), rng)
    for _ in range(int(rng.integers(1, 3))):
        at_wall(layout, make_cabinet(rng, str(rng.choice(["low", "tall"]))), rng)


@dataclass(frozen=True)
class Program:
    """A type of room.

    Attributes:
      anchor: places the large pieces in an empty layout.
      fill: places the rest once a part of the floor is reserved.
      required: classes without which the room is drawn again.
      size: smallest and largest (width, depth) in metres.
      open_floor: rectangle of floor that stays free, in metres.
      sill: height of the window sills in metres.
      curtains: probability that a window has curtains.
    """

    anchor: Callable[[Layout, np.random.Generator], None]
    fill: Callable[[Layout, np.random.Generator], None]
    required: frozenset[str]
    size: tuple[tuple[float, float], tuple[float, float]]
    open_floor: tuple[float, float]
    sill: float
    curtains: float


PROGRAMS = {
    "office": Program(
        office,
        fill_office,
        frozenset({"desk", "chair"}),
        ((4.0, 4.2), (5.8, 5.6)),
        (1.8, 2.4),
        0.9,
        0.2,
    ),
    "living room": Program(
        living_room,
        fill_living_room,
        frozenset({"sofa"}),
        ((4.6, 4.4), (6.4, 5.8)),
        (1.9, 2.4),
        0.8,
        0.9,
    ),
    "bedroom": Program(
        bedroom, fill_bedroom, frozenset({"bed"}), ((4.4, 4.3), (5.7, 5.4)), (1.8, 2.3), 0.85, 0.8
    ),
    "kitchen": Program(
        kitchen,
        fill_kitchen,
        frozenset({"counter", "table"}),
        ((4.1, 4.1), (5.6, 5.2)),
        (1.7, 2.2),
        1.05,
        0.4,
    ),
    "bathroom": Program(
        bathroom,
        fill_bathroom,
        frozenset({"bathtub", "toilet", "sink"}),
        ((3.2, 3.2), (4.2, 4.2)),
        (1.6, 1.9),
        1.2,
        0.2,
    ),
    "classroom": Program(
        class_rows,
        fill_classroom,
        frozenset({"table", "chair"}),
        ((5.4, 5.4), (7.2, 6.6)),
        (1.9, 2.4),
        0.95,
        0.4,
    ),
}


def add_extras(layout: Layout, least: int, rng: np.random.Generator) -> None:
    """A few small things, then as many more pieces as are missing to `least`."""
    for make in (make_bin, make_plant, make_carton, make_floor_lamp):
        if rng.random() < 0.45:
            place_at_wall(layout, make(rng), rng, gap=0.03)
    fillers = (make_bin, make_floor_lamp, make_night_stand, make_chair, make_bookshelf)
    for index in range(24):
        if layout.num_pieces >= least:
            break
        place_at_wall(layout, fillers[index % len(fillers)](rng), rng, gap=0.03)
