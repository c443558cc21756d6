"""The data that a configuration names: sources, samples and capacities from plain values."""

from collections.abc import Mapping
from typing import Any

from fourdc_jax.data.sequences.augmentation import FrameTransformParams
from fourdc_jax.data.sequences.batches import Capacity, VoxelParams
from fourdc_jax.data.sequences.capacity import CapacityParams, measure_capacity
from fourdc_jax.data.sequences.samples import SampleMaker, SamplingParams
from fourdc_jax.data.sequences.sequence import SequenceParams
from fourdc_jax.data.sources.source import open_scans, open_shapes
from fourdc_jax.params import read_params

SAMPLING_KEYS = ("trajectories_per_scan", "shapes_per_scan", "max_attempts", "overflow", "cached")


def open_samples(data: Mapping[str, Any], sequence: Mapping[str, Any], seed: int) -> SampleMaker:
    """Opens the scans and shapes of a configuration and checks all values of its two sections.

    Args:
      data, sequence: `config.data` and `config.sequence` as plain dictionaries.
      seed: of everything random in the data.

    Raises:
      FileNotFoundError, ValueError: nothing usable where the configuration points to, or a value
        is missing, unknown, of the wrong kind or has no size range for a category.
    """
    params = read_params(SequenceParams, sequence, "config.sequence")
    transforms = read_params(FrameTransformParams, data["transforms"], "config.data.transforms")
    voxels = read_params(VoxelParams, data["voxels"], "config.data.voxels")
    sampling = {"seed": seed, **{key: data[key] for key in SAMPLING_KEYS}}
    scans = open_scans(
        data["scans"],
        seed=seed,
        split_file=data["scan_split_file"],
        align_axes=data["align_axes"],
        scale=data["scan_scale"],
        min_points=data["min_scan_points"],
    )
    shapes = open_shapes(
        data["shapes"],
        num_points=data["shape_points"],
        categories=tuple(data["categories"]),
        seed=seed,
        split=data["shape_split"],
        up=data["shape_up"],
    )
    unsized = sorted(set(shapes.categories) - set(params.sizes))
    if unsized:
        raise ValueError(f"config.sequence.sizes lacks the categories {', '.join(unsized)}")
    return SampleMaker(
        scans,
        shapes,
        params,
        transforms,
        voxels,
        read_params(SamplingParams, sampling, "config.data"),
    )


def choose_capacity(data: Mapping[str, Any], maker: SampleMaker) -> Capacity:
    """The capacity of one sample: as `config.data.capacity` gives it, else measured.

    Raises:
      ValueError: the rows given are not one for every level of both networks.
    """
    params = read_params(CapacityParams, data["capacity"], "config.data.capacity")
    levels = 1 + len(maker.voxels.strides)
    given = (len(params.rows_3d), len(params.rows_4d))
    if given == (0, 0):
        return measure_capacity(maker, params)
    if given != (levels, levels):
        raise ValueError(
            f"config.data.capacity: rows_3d and rows_4d have {given[0]} and {given[1]} values; "
            f"give {levels} each, or none to have them measured"
        )
    return Capacity(params.rows_3d, params.rows_4d)
