"""Which scenes train and which validate: areas, limited scenes, and a check that none does both.

ScanNet's limited-scene benchmark trains on 1, 5, 10 or 20% of the scenes, by lists that come with
the dataset. Without a list a seeded subset takes its place; it is another subset, and called so.
"""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fourdc_jax.data.sources.source import NAMES_SHOWN, read_names

log = logging.getLogger(__name__)

# SHA-256 of the benchmark's lists, by their percentage.
OFFICIAL_LISTS: dict[float, str] = {
    1: "39ddd0db0617ae568a85ad7e211d2c39c6664172fa57ef0b4d840e0fa40e0489",
    5: "ff517b71ecca5e656c27d4cbc1c54c20f21a2a4034285ad0439d24702a9dae5a",
    10: "c9fa2e94a409ecd2252e8ac507a66aa829e1692b0268a031dfdaeac031f88006",
    20: "f266bc0897aff988d4005a2757314fcc19d7c0d13fd1cdaaff760a8d957482a9",
}


PERCENT = "{percent}"  # in the name of a list: its percentage
# Names that mean the same scene wherever its files lie: ScanNet's, procedural rooms, S3DIS'.
IDENTITY = re.compile(r"scene\d{4}_\d{2}|room_\d{6,}|Area_\d")


@dataclass(frozen=True)
class LimitedParams:
    """How many of the training scenes are used.

    percent: of the scenes; 100 uses all.
    list_file: the benchmark's list of that percentage, one scene a line; "": a seeded subset. A
      "{percent}" in it stands for the percentage, and at 100 no list is read.
    seed: of the subset.
    """

    percent: float
    list_file: str
    seed: int


def limit_scenes(names: Sequence[str], params: LimitedParams) -> list[str]:
    """The training scenes that are used, and a line in the log on which they are.

    Raises:
      FileNotFoundError: there is no such list.
      ValueError: the percentage is not in 0..100 or not that of the list, or a listed scene is not
        among `names`.
    """
    percent = params.percent
    if not 0 < percent <= 100:
        raise ValueError(f"limited.percent is {percent}: give more than 0 and at most 100")
    if percent == 100:
        if params.list_file and PERCENT not in params.list_file:
            raise ValueError(
                f"limited.list_file is {params.list_file} and limited.percent is 100: set the "
                "percentage that the list is of"
            )
        return list(names)
    if params.list_file:
        path = Path(params.list_file.replace(PERCENT, f"{percent:g}")).expanduser()
        return read_limited_list(path, percent, names)
    chosen = choose_subset(names, percent, params.seed)
    log.warning(
        "training on %d of %d scenes: a seeded subset of %g%% (seed %d), not the benchmark's list",
        len(chosen),
        len(names),
        percent,
        params.seed,
    )
    return chosen


def choose_subset(names: Sequence[str], percent: float, seed: int) -> list[str]:
    """A random part of the names, at least one; a smaller part is within a larger one.

    Depends on the set of names only, not on their order, which the chosen ones keep.
    """
    ordered = sorted(names)
    count = max(1, int(len(ordered) * percent / 100 + 1e-9))
    order = np.random.default_rng([seed, 6]).permutation(len(ordered))
    chosen = {ordered[i] for i in order[:count]}
    return [name for name in names if name in chosen]


def read_limited_list(path: Path, percent: float, names: Sequence[str]) -> list[str]:
    """The scenes of a list, in its order; a warning where it is not the benchmark's.

    Raises:
      ValueError: it is the benchmark's list of another percentage, or a scene is not among `names`.
    """
    listed = read_names(path)
    missing = sorted(set(listed) - set(names))
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(listed)} scenes in {path} are not among the training "
            f"scenes: {', '.join(missing[:NAMES_SHOWN])}{', ...' * (len(missing) > NAMES_SHOWN)}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    official = next((p for p, known in OFFICIAL_LISTS.items() if known == digest), None)
    if official == percent:
        log.info("training on the benchmark's %g%% list, %d scenes: %s", percent, len(listed), path)
    elif official is not None:
        raise ValueError(
            f"{path} is the benchmark's {official:g}% list and limited.percent is {percent:g}: set "
            f"it to {official:g}"
        )
    else:
        log.warning(
            "%s is not the benchmark's %g%% list: its SHA-256 is %s, the published one is %s; its "
            "%d scenes are used, and results do not compare with the benchmark's",
            path,
            percent,
            digest,
            OFFICIAL_LISTS.get(percent, "unknown"),
            len(listed),
        )
    return listed


def select_areas(names: Sequence[str], areas: Sequence[int]) -> list[str]:
    """The S3DIS rooms of the given areas, by the `Area_<number>` in their names.

    Raises:
      ValueError: a name has no area, or an area has no room.
    """
    area_of = {}
    for name in names:
        found = re.search(r"Area_(\d+)", name)
        if found is None:
            raise ValueError(f"scan {name!r} has no Area_<number> in its name: leave areas empty")
        area_of[name] = int(found[1])
    empty = sorted(set(areas) - set(area_of.values()))
    if empty:
        raise ValueError(f"no room of area {empty}; there are areas {sorted({*area_of.values()})}")
    return [name for name in names if area_of[name] in areas]


def check_disjoint(training: Mapping[str, str], validation: Mapping[str, str]) -> None:
    """Raises ValueError where a scene is in both splits.

    Args:
      training, validation: name of each scene -> where it is. Scenes of one name in different
        places are the same where the name is that of a dataset, such as "scene0000_00".
    """
    both = sorted(
        name
        for name in training.keys() & validation.keys()
        if IDENTITY.search(name) or training[name] == validation[name]
    )
    if both:
        raise ValueError(
            f"{len(both)} scenes are in training and in validation, the first is {both[0]!r}: give "
            "the splits other lists, areas or seeds"
        )
