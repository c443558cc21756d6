"""Write 4D sequences for anyone to look at, and check them.

    python experiments/make_sequences.py --config configs/pretrain.py --num 20 --out sequences \
        --config.data.scans=<scans> --config.data.shapes=<shapes>

Each sequence is `<number>.npz`: `points_{i}` [n, 3] in metres and `ids_{i}` [n] for frame i, before
the 3D frames are moved (ids below `num_scene_points` are scan points, the rest object points),
`num_scene_points`, `num_object_points`, `poses` [t, 4, 4] (object to scene), `object_points`,
`scan`, `shape`, `seed`. `<number>.png` is the map of valid positions with the trajectory. Every
file is read back and all constraints of section 3.3 are recomputed from it.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fourdc_jax.data.sequences.checks import check_sequence
from fourdc_jax.data.sequences.floor_map import FloorMap, find_candidates
from fourdc_jax.data.sequences.from_config import DataParams, open_sequences
from fourdc_jax.data.sequences.sampling import Report
from fourdc_jax.data.sequences.sequence import Sequence, SequenceParams, save_sequence
from fourdc_jax.params import read_params
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least
from fourdc_jax.viz.pictures.trajectory import draw_trajectory_map


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num", type=at_least(1), default=20, help="sequences to write")
    parser.add_argument("--out", required=True, type=Path, help="folder to write them to")


def main(args: argparse.Namespace) -> int:
    """Writes the sequences, checks and counts them; 1 where one breaks a constraint."""
    config, folder = args.config, args.out.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    data = read_params(DataParams, config.data.to_dict(), "config.data")
    params = read_params(SequenceParams, config.sequence.to_dict(), "config.sequence")
    maker = open_sequences(data, params, config.seed)
    maps = {}
    reports, broken, seconds = [], [], 0.0
    for number in tqdm(range(args.num), unit="sequence"):
        index = pick_index(number, len(maker.scans), len(maker))
        start = time.process_time()
        sequence, report = maker.make_sequence(number // len(maker), index)
        seconds += time.process_time() - start
        path = folder / f"{number:06d}.npz"
        save_sequence(sequence, path)
        with np.load(path) as arrays:
            broken += [f"{path}: {problem}" for problem in check_sequence(arrays, params)]
        if sequence.scan not in maps:
            maps[sequence.scan] = maker.scan(maker.scans.names.index(sequence.scan)).floor_map
        draw_map(sequence, maps[sequence.scan], path.with_suffix(".png"))
        reports.append(report)
    print_statistics(reports, seconds)
    for problem in broken:
        command.tell(f"error: a constraint is broken: {problem}")
    if not broken:
        print(f"{len(reports)} files in {folder}: all constraints hold")
    return bool(broken)


def pick_index(number: int, num_scans: int, length: int) -> int:
    """The number-th sample where every scan gives its first sequence before any its second."""
    scan, trajectory = number % num_scans, number // num_scans
    return (scan * (length // num_scans) + trajectory) % length


def draw_map(sequence: Sequence, floor_map: FloorMap, path: Path) -> None:
    """Draws where the object could stand and where it went."""
    poses = sequence.poses.astype(np.float64)[: len(sequence.poses) * bool(sequence.shape)]
    radius = float(np.sqrt(np.square(sequence.object_points).sum(axis=1).max(initial=0)))
    draw_trajectory_map(
        floor_map.top - floor_map.floor_height,
        floor_map.valid,
        find_candidates(floor_map, radius),
        floor_map.origin * floor_map.voxel,
        floor_map.voxel,
        poses[:, :2, 3],
        np.arctan2(poses[:, 1, 0], poses[:, 0, 0]),
        radius,
        path,
        title=f"{sequence.shape or 'static scene'} in {sequence.scan}",
    )


def print_statistics(reports: list[Report], seconds: float) -> None:
    """Prints how often pairs had no sequence, and draws too few points."""
    rejections = [rejection for report in reports for rejection in report.rejections]
    discarded = sum(report.discarded for report in reports)
    tried = len(reports) + len(rejections)
    drawn = len(reports) + discarded
    print(f"{len(reports)} sequences, {seconds / len(reports):.3f} s of CPU time each")
    print(f"pairs without a sequence: {len(rejections)} of {tried} ({len(rejections) / tried:.1%})")
    for scan, count in Counter(rejection.scan for rejection in rejections).most_common():
        own = [rejection for rejection in rejections if rejection.scan == scan]
        names = ", ".join(sorted({rejection.shape for rejection in own}))
        print(f"  {scan}, {count} times with {names}; the first: {own[0].reason}")
    print(f"draws that kept too few points: {discarded} of {drawn} ({discarded / drawn:.1%})")
    for what, names in (
        ("scans", [report.scan for report in reports]),
        ("shapes", [report.shape for report in reports]),
    ):
        counts = Counter(names).most_common()
        print(f"{what}: " + ", ".join(f"{name} {count}" for name, count in counts))


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, config="configs/pretrain.py")
