"""Furniture that belongs together: a desk and its chair, a bed and its night stands."""

import numpy as np

from fourdc_jax.data.procedural.accessories import make_panel, make_stove, things_on
from fourdc_jax.data.procedural.beds import make_bed
from fourdc_jax.data.procedural.furniture import Furniture
from fourdc_jax.data.procedural.layout import (
    Layout,
    place_at_wall,
    place_beside,
    place_chair,
    place_free,
)
from fourdc_jax.data.procedural.sanitary import (
    make_bathtub,
    make_kitchen_counter,
    make_shower_curtain,
)
from fourdc_jax.data.procedural.seating import make_chair, make_sofa
from fourdc_jax.data.procedural.storage import make_cabinet, make_night_stand, make_refrigerator
from fourdc_jax.data.procedural.tables import make_desk, make_table

FRONT = 0.45  # metres kept free before doors and drawers


def at_wall(
    layout: Layout,
    furniture: Furniture,
    rng: np.random.Generator,
    *,
    front: float = FRONT,
    use: str = "",
) -> np.ndarray | None:
    """A piece at a wall with what lies on it."""
    pose = place_at_wall(layout, furniture, rng, gap=rng.uniform(0.015, 0.06), front=front)
    if pose is not None:
        clutter(layout, furniture, pose, use, rng)
    return pose


def clutter(
    layout: Layout, furniture: Furniture, pose: np.ndarray, use: str, rng: np.random.Generator
) -> None:
    """Things on a piece's free surface, more often than not."""
    if furniture.top and (use == "work" or rng.random() < 0.6):
        layout.add_things(things_on(rng, furniture.top, use), pose)


def desk_group(layout: Layout, rng: np.random.Generator) -> None:
    """A desk at a wall with a computer and a chair."""
    desk = make_desk(rng)
    gap = rng.uniform(0.02, 0.08)
    pose = place_at_wall(layout, desk, rng, gap=gap, front=0.6, reserve=False)
    if pose is None:
        return
    index = len(layout.solids) - 1
    clutter(layout, desk, pose, "work", rng)
    family = "office" if rng.random() < 0.75 else None
    place_chair(layout, make_chair(rng, family), desk.seats[0], index, pose, rng)


def table_group(
    layout: Layout, use: str, chairs: int, rng: np.random.Generator, *, at_side: bool = False
) -> None:
    """A table, free or at a wall, with up to so many equal chairs around it."""
    table = make_table(rng, use)
    if at_side:
        pose = place_at_wall(layout, table, rng, gap=0.03)
    else:
        pose = place_free(layout, table, rng, around=0.35)
    if pose is None:
        return
    index = len(layout.solids) - 1
    clutter(layout, table, pose, "", rng)
    family = str(rng.choice(["dining", "dining", "shell", "folding", "stool", "office"]))
    style = int(rng.integers(2**31))  # the same for all chairs of a table
    for seat in [table.seats[i] for i in rng.permutation(len(table.seats))[:chairs]]:
        chair = make_chair(np.random.default_rng(style), family)
        place_chair(layout, chair, seat, index, pose, rng)


def bed_group(layout: Layout, rng: np.random.Generator) -> None:
    """A bed with its head at a wall, and night stands."""
    bed = make_bed(rng)
    if place_at_wall(layout, bed, rng, gap=0.02, front=0.3) is None:
        return
    index = len(layout.solids) - 1
    style = int(rng.integers(2**31))
    for side in (-1, 1):
        if rng.random() < 0.75:
            stand = make_night_stand(np.random.default_rng(style))
            pose = place_beside(layout, stand, index, side, rng.uniform(0.05, 0.15))
            if pose is not None:
                clutter(layout, stand, pose, "night", rng)


def sofa_group(layout: Layout, rng: np.random.Generator) -> None:
    """A sofa at a wall, a coffee table before it."""
    sofa = make_sofa(rng)
    pose = place_at_wall(layout, sofa, rng, gap=rng.uniform(0.02, 0.15))
    if pose is None:
        return
    table = make_table(rng, "coffee")
    reach = sofa.bounds[1, 0] + rng.uniform(0.3, 0.45) + table.bounds[1, 0]
    spot = np.array([pose[0] + reach * np.cos(pose[2]), pose[1] + reach * np.sin(pose[2]), pose[2]])
    if layout.fits_at(table, spot):
        layout.put(table, spot)
        clutter(layout, table, spot, "", rng)


def corner_chair(layout: Layout, rng: np.random.Generator) -> None:
    """An armchair or spare chair somewhere, turned as it was left."""
    family = str(rng.choice(["armchair", "armchair", "stool", "shell"]))
    place_free(layout, make_chair(rng, family), rng, square=False)


def tub_group(layout: Layout, rng: np.random.Generator) -> None:
    """A bathtub at a wall, mostly with a curtain on a rail along its front."""
    tub = make_bathtub(rng)
    pose = place_at_wall(layout, tub, rng, gap=0.01, front=0.5)
    if pose is not None and rng.random() < 0.85:
        low, high = tub.bounds
        edge = high[0] + 0.05
        spot = pose[:2] + edge * np.array([np.cos(pose[2]), np.sin(pose[2])])
        curtain = make_shower_curtain(rng, high[1] - low[1])
        layout.add_things(curtain, np.array([*spot, pose[2]]))


def kitchen_run(layout: Layout, rng: np.random.Generator) -> None:
    """The longest counter that finds a wall, cooker and refrigerator beside it where they fit."""
    for width in rng.uniform((2.2, 1.6, 1.2), (3.2, 2.2, 1.6)):
        counter = make_kitchen_counter(rng, width)
        if at_wall(layout, counter, rng, front=0.7) is None:
            continue
        index = len(layout.solids) - 1
        wall_cabinets(layout, index, rng)
        for side, piece in zip(rng.permutation([-1, 1]), (make_stove(rng), make_refrigerator(rng))):
            if place_beside(layout, piece, index, int(side), 0.02) is None:
                at_wall(layout, piece, rng)
        return


def wall_cabinets(layout: Layout, index: int, rng: np.random.Generator) -> None:
    """A row of hung cabinets above `solids[index]`, where no window is."""
    x, y, half_depth, half_width, yaw = layout.solids[index][:5]
    cabinet = make_cabinet(rng, "wall")
    low, high = cabinet.bounds
    width = high[1] - low[1] + layout.gap + 0.005
    count, z = int(2 * half_width / width), rng.uniform(1.4, 1.5)
    cos, sin = np.cos(yaw), np.sin(yaw)
    back = -half_depth - low[0]
    for across in (np.arange(count) - 0.5 * (count - 1)) * width:
        pose = np.array([x + cos * back - sin * across, y + sin * back + cos * across, yaw])
        if rng.random() < 0.75 and not layout.is_full(cabinet) and layout.fits_at(cabinet, pose, z):
            layout.put(cabinet, pose, z)


def class_rows(layout: Layout, rng: np.random.Generator) -> None:
    """A whiteboard, and equal tables in rows before it, their chairs facing it."""
    board = make_panel(rng, "whiteboard", rng.uniform(1.8, 3.0), rng.uniform(1.0, 1.2))
    pose = place_at_wall(layout, board, rng, z=0.95, gap=0.003)
    if pose is None:
        return
    styles = rng.integers(2**31, size=2)
    table = make_table(np.random.default_rng(styles[0]), "student")
    width = table.bounds[1, 1] - table.bounds[0, 1]
    first, pitch = rng.uniform(1.5, 2.2), (rng.uniform(1.25, 1.5), width + rng.uniform(0.5, 0.8))
    family = str(rng.choice(["shell", "dining", "folding"]))
    columns, rows = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    for row in range(rows):
        for column in range(columns):
            out, across = first + row * pitch[0], (column - 0.5 * (columns - 1)) * pitch[1]
            x, y = pose[0] + cos * out - sin * across, pose[1] + sin * out + cos * across
            spot = np.array([x, y, pose[2] + rng.normal(0, 0.02)])
            if layout.is_full(table) or not layout.fits_at(table, spot):
                continue
            index = layout.put(table, spot)
            for seat in table.seats:
                chair = make_chair(np.random.default_rng(styles[1]), family)
                place_chair(layout, chair, seat, index, spot, rng)
