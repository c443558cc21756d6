"""Tracks: points followed by identity through the frames, as rows of the voxel grids."""

import numpy as np
from jaxtyping import Int, Int32


def sample_tracks(
    table_3d: Int32[np.ndarray, "n t"],
    table_4d: Int32[np.ndarray, "n t"],
    num_scene_points: int,
    num_tracks: int,
    object_share: float | None,
    rng: np.random.Generator,
) -> tuple[Int32[np.ndarray, "m t"], Int32[np.ndarray, "m t"]]:
    """Random tracks among the points that are present in at least two frames.

    Points that share their voxels in all frames of both grids are one track, drawn once: a voxel
    tells no two of them apart. `object_share` of the tracks are on the object, as far as it has
    as many, and the scene the same; None draws all points alike, as the equations' sums weigh
    them. Rows of -1 fill up where the sequence has fewer tracks than `num_tracks`.
    """
    frames_held = sum((rows >= 0).astype(np.int8) for rows in table_3d.T)  # [n]
    ids = np.flatnonzero(frames_held >= 2)
    split = int(np.searchsorted(ids, num_scene_points))
    if object_share is None:
        chosen = draw_distinct(ids, table_3d, table_4d, num_tracks, rng)
    else:
        quota = round(object_share * num_tracks)
        things = draw_distinct(ids[split:], table_3d, table_4d, num_tracks, rng)
        scene = draw_distinct(ids[:split], table_3d, table_4d, num_tracks, rng)
        num_scene = min(len(scene), num_tracks - min(quota, len(things)))
        chosen = np.concatenate([scene[:num_scene], things[: num_tracks - num_scene]])
    tracks_3d = np.full((num_tracks, table_3d.shape[1]), -1, np.int32)
    tracks_4d = tracks_3d.copy()
    tracks_3d[: len(chosen)] = table_3d[chosen]
    tracks_4d[: len(chosen)] = table_4d[chosen]
    return tracks_3d, tracks_4d


def draw_distinct(
    ids: Int[np.ndarray, "k"],
    table_3d: Int32[np.ndarray, "n t"],
    table_4d: Int32[np.ndarray, "n t"],
    count: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "_"]:
    """Up to `count` random ids in random order, no two with the same rows in all frames.

    A prefix of a random permutation without the repetitions, so only about `count` rows of the
    tables are compared, not all of them.
    """
    order = rng.permutation(ids)
    length = count
    while True:
        prefix = order[:length]
        rows = np.concatenate([table_3d[prefix], table_4d[prefix]], axis=1)  # [length, 2 t]
        _, first = np.unique(rows, axis=0, return_index=True)
        if len(first) >= count or length >= len(order):
            return prefix[np.sort(first)[:count]]
        length *= 2
