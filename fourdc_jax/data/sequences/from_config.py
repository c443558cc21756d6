"""The data that a configuration names: sequences, samples and capacities."""

from dataclasses import dataclass
from typing import Literal

from fourdc_jax.data.grids.capacity import measure_rows
from fourdc_jax.data.sequences.augmentation import FrameTransformParams
from fourdc_jax.data.sequences.batches import Maker
from fourdc_jax.data.sequences.capacity import Capacity, CapacityParams
from fourdc_jax.data.sequences.samples import NetworkInputs, VoxelParams
from fourdc_jax.data.sequences.sampling import SamplingParams, SequenceMaker
from fourdc_jax.data.sequences.sequence import SequenceParams
from fourdc_jax.data.sources.source import open_scans, open_shapes


@dataclass(frozen=True)
class DataParams:
    """All of `config.data` of pre-training.

    scans, scan_split_file, align_axes, scan_scale, min_scan_points: see `open_scans`.
    shapes, categories, shape_split, shape_points, shape_up: see `open_shapes`.
    trajectories_per_scan, shapes_per_scan, max_attempts, cached: see `SamplingParams`.
    overflow: what happens to samples that together are larger than the capacity.
    num_workers, prefetch: who makes the batches, see `LoaderParams`.
    capacity: rows of a micro-batch.
    voxels: both grids and the tracks.
    transforms: how the 3D frames are moved.
    """

    scans: str
    shapes: str
    scan_split_file: str
    align_axes: bool
    scan_scale: float
    min_scan_points: int
    categories: tuple[str, ...]
    shape_split: str
    shape_points: int
    shape_up: str
    trajectories_per_scan: int
    shapes_per_scan: int
    max_attempts: int
    overflow: Literal["error", "crop"]
    cached: int
    num_workers: int
    prefetch: int
    capacity: CapacityParams
    voxels: VoxelParams
    transforms: FrameTransformParams


def open_sequences(data: DataParams, sequence: SequenceParams, seed: int) -> SequenceMaker:
    """Opens the scans and shapes that a configuration names.

    `seed` is that of everything random in the data.

    Raises:
      FileNotFoundError, ValueError: nothing usable where the configuration points to, or a
        category without a range of sizes.
    """
    scans = open_scans(
        data.scans,
        seed=seed,
        split_file=data.scan_split_file,
        align_axes=data.align_axes,
        scale=data.scan_scale,
        min_points=data.min_scan_points,
    )
    shapes = open_shapes(
        data.shapes,
        num_points=data.shape_points,
        categories=data.categories,
        seed=seed,
        split=data.shape_split,
        up=data.shape_up,
    )
    unsized = sorted(set(shapes.categories) - set(sequence.sizes))
    if unsized:
        raise ValueError(f"config.sequence.sizes lacks the categories {', '.join(unsized)}")
    sampling = SamplingParams(
        seed, data.trajectories_per_scan, data.shapes_per_scan, data.max_attempts, data.cached
    )
    return SequenceMaker(scans, shapes, sequence, sampling)


def open_samples(
    data: DataParams, sequence: SequenceParams, inputs: NetworkInputs, seed: int
) -> Maker:
    """Opens the data of pre-training; its capacity is not known yet.

    Raises:
      FileNotFoundError, ValueError: as `open_sequences`.
    """
    sequences = open_sequences(data, sequence, seed)
    return Maker(sequences, data.transforms, data.voxels, inputs, data.overflow)


def choose_capacity(params: CapacityParams, maker: Maker, batch: int) -> Capacity:
    """Rows of a micro-batch of so many samples: as the configuration gives them, else measured.

    Raises:
      ValueError: the rows given are not one for every level of both networks.
    """
    levels = 1 + len(maker.inputs.strides_3d), 1 + len(maker.inputs.strides_4d)
    given = len(params.rows_3d), len(params.rows_4d)
    if given == (0, 0):
        rows = measure_rows(maker, params, batch)
        return Capacity(rows[: levels[0]], rows[levels[0] :])
    if given != levels:
        raise ValueError(
            f"config.data.capacity: rows_3d and rows_4d have {given[0]} and {given[1]} values; "
            f"give {levels[0]} and {levels[1]}, or none to have them measured"
        )
    return Capacity(params.rows_3d, params.rows_4d)
