"""The whole pre-training step, compiled for GPUs on a host without one: which kernels it runs."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from fourdc_jax.configs.pretrain import get_config
from fourdc_jax.kernels.compiled import launched_kernels
from fourdc_jax.kernels.implementation import lowering_for
from ml_collections import ConfigDict
from tasks.pretrain.test_task import tiny_config

from fourdc_jax.data.grids.grid import Grid
from fourdc_jax.data.sequences.batches import SequenceBatch
from fourdc_jax.data.sequences.samples import View
from fourdc_jax.models.architectures import Architecture, find_architecture
from fourdc_jax.tasks.pretrain import task as pretrain
from fourdc_jax.train import parallel
from fourdc_jax.train.programs import program

pytest.importorskip("jax_triton", reason="jax-triton compiles the kernels")

# Rows of two sequences.
TINY = {"rows_3d": (4096, 2048, 1024, 512, 256), "rows_4d": (2048, 1024, 512, 256, 256)}
DEMO = {"rows_3d": (40960, 16384, 6144, 2048, 2048), "rows_4d": (12288, 6144, 2048, 2048, 2048)}
ROOMS = {
    "rows_3d": (800_000, 240_000, 64_000, 16_000, 4_800),
    "rows_4d": (160_000, 48_000, 12_000, 3_200, 800),
}


def with_capacity(config: ConfigDict, capacity: dict[str, tuple[int, ...]]) -> ConfigDict:
    """A config that measures nothing: its rows are given."""
    config = config.copy_and_resolve_references().unlock()
    config.implementation = "triton"
    config.batch_size = 2 * jax.device_count()
    config.data.scans, config.data.shapes = "procedural:1", "procedural:8"
    config.data.capacity.update(capacity)
    return config.lock()


def lower_step(config: ConfigDict, compute_capability: int) -> Any:
    """The step under pmap, as StableHLO for CUDA; nothing is computed, no data is read."""
    with lowering_for(compute_capability):
        task = pretrain.create_task(config)
        programs = program(task, config)
        batch = batch_shapes(config)
        state = jax.eval_shape(programs.initialize, batch)
        devices = jax.local_device_count()
        batches = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((devices, 1, *leaf.shape), leaf.dtype), batch
        )
        traced = jax.jit(programs.step).trace(state, batches)  # of pmap alone, for this host only
        return traced.lower(lowering_platforms=("cuda",))


def batch_shapes(config: ConfigDict) -> SequenceBatch:
    """What the loader gives one device."""
    sequences = parallel.split_batch(config.batch_size, config.accumulate)
    capacity = config.data.capacity

    def see(rows: tuple[int, ...], columns: int) -> View:
        grid = Grid(
            jax.ShapeDtypeStruct((rows[0], columns), jnp.int32),
            jax.ShapeDtypeStruct((), jnp.int32),
            jax.ShapeDtypeStruct((rows[0], config.model.in_channels), jnp.float32),
            jax.ShapeDtypeStruct((len(rows),), jnp.int32),
        )
        tracks = (sequences, config.data.voxels.num_tracks, config.sequence.num_frames)
        return View(grid, jax.ShapeDtypeStruct(tracks, jnp.int32))

    return SequenceBatch(see(capacity.rows_3d, 4), see(capacity.rows_4d, 5))


def operations(operation: Any) -> Iterator[Any]:
    """All operations inside of one, however deep."""
    for region in operation.regions:
        for block in region:
            for inner in block:
                yield inner.operation
                yield from operations(inner.operation)


def find_layers(network: ConfigDict) -> Architecture:
    """Planes and layers of a network of basic blocks, by name or as they are given."""
    if network.architecture:
        return find_architecture(network.architecture)
    return Architecture(network.block, network.planes, network.layers)


def residual_inputs(network: ConfigDict) -> list[int]:
    """Input channels of the residual blocks' 3^d convolutions."""
    _, planes, layers = find_layers(network)
    skips, channels, inputs = [], network.stem_channels, []
    for stage in range(8):
        if stage < 4:
            skips.append(channels)
        else:
            channels = planes[stage] + skips.pop()
        for _ in range(layers[stage]):
            inputs += [channels, planes[stage]]
            channels = planes[stage]
    return inputs


def count_maps(network: ConfigDict) -> int:
    """Kernel maps: of the levels with residual blocks, and the stem's where it is another."""
    layers = find_layers(network).layers
    levels = {level for level, blocks in zip((1, 2, 3, 4, 3, 2, 1, 0), layers) if blocks}
    shared = network.kernel_type == "hypercube" and set(network.stem_kernel_size) == {3}
    return len(levels | {0}) if shared else len(levels) + 1


def check_step(config: ConfigDict, compute_capability: int) -> None:
    """Every convolution and map is Triton's, each runs once, and nothing is added in a race."""
    networks = [config.model.network_3d, config.model.network_4d]
    lowered = lower_step(config, compute_capability)
    launches = Counter(kernel.name for kernel in launched_kernels(lowered))

    submanifold = [1] * len(networks)  # input channels, those of the stems first
    submanifold += [c for network in networks for c in residual_inputs(network)]
    narrow = sum(channels <= 8 for channels in submanifold)
    steps = 4 * len(networks)  # between levels, and as many back
    convolutions = len(submanifold) + 2 * steps
    expected = {
        "_narrow_conv": narrow,
        # The others, and the input gradients of all but the stems, which read data.
        "_implicit_gemm": convolutions - narrow + convolutions - len(networks),
        "_narrow_weight_gradient": narrow,
        "_weight_gradient": convolutions - narrow,
        "_probe": sum(map(count_maps, networks)),
        "_join": steps,
        "_sum_readers": 2,  # tracks are read four times; projections are constants
    }
    assert {name: launches[name] for name in expected} == expected

    module = lowered.compiler_ir("stablehlo")
    names = Counter(operation.name for operation in operations(module.operation))
    assert names["stablehlo.gather"] == 4  # tracks; XLA's convolutions gather, scatter and loop
    assert names["stablehlo.while"] == names["stablehlo.scatter"] == 0


def test_tiny_step_on_hopper():
    check_step(with_capacity(tiny_config(), TINY), 90)


@pytest.mark.slow
def test_tiny_step_on_ampere():
    check_step(with_capacity(tiny_config(), TINY), 80)


@pytest.mark.slow
@pytest.mark.parametrize("compute_capability", [80, 90])
def test_demo_step(compute_capability):
    check_step(with_capacity(get_config("demo"), DEMO), compute_capability)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_step_of_the_papers_networks(dtype):
    config = with_capacity(get_config(), ROOMS).unlock()
    config.model.dtype = dtype
    check_step(config.lock(), 90)
