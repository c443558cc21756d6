"""Speed of the sparse-convolution engine on surfaces of rooms, in one run.

    python experiments/bench_sparse_conv.py [--implementation triton] [--dtype bfloat16]
        [--rows 10240 --rows 102400 --rows 1024000] [--output bench.json]

For every size: all maps of a U-Net, 3^3 layers, the 5^3 stem with 3 channels, strided and
transposed layers, and Res16UNet34C (forward, and a step of SGD with momentum); then the same of the
4D MinkUNet14, whose kernels have 81 offsets, on sequences of 4 frames. `timing.py` says how is
measured, `costs.py` how operations and bytes are counted.

    TFLOP/s     operations on existing pairs of voxels only, a second
    of matmul   that, over the rate of a dense square product of the same dtype
    of copy     the compulsory bytes a second, over the bandwidth of a large copy
    of roofline the least time that matmul and copy allow product by product, over the time
    launches    operations of the compiled program on the device, per call
    MiB         arguments, results and temporary buffers of the program

Matrix product and copy are measured in turns with the rest. A stem's gradients are the weights'.
"""

import argparse

import jax
from benchmarks.engine_times import layer_lines, report, single_layers, whole_network
from benchmarks.flags import DTYPES, add_size_flags, add_timing_flags, write_numbers
from benchmarks.rooms import level_capacities, room_voxels, sequence_voxels
from benchmarks.timing import on_gpu
from benchmarks.workloads import make_network, map_workload, submanifold_layer

from fourdc_jax.sparse.execution import Execution
from fourdc_jax.train import command

IMPLEMENTATIONS = ("auto", "xla", "triton", "interpret")
CHANNELS = ((32, 32), (64, 64), (128, 96), (96, 96), (128, 128), (256, 256))


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--implementation", default="auto", choices=IMPLEMENTATIONS)
    add("--dtype", choices=DTYPES, help="default: bfloat16 on a GPU, float32 on a CPU")
    add_size_flags(parser, "10240, 102400, 1024000 on a GPU, less on a CPU")
    add(
        "--network",
        choices=("3d", "4d", "none"),
        nargs="+",
        action="extend",
        help="also whole ones; default: both",
    )
    add_timing_flags(parser, rounds=7)


def main(args: argparse.Namespace) -> None:
    """All lines of every size."""
    dtype = args.dtype or ("bfloat16" if on_gpu() else "float32")
    device = jax.devices()[0].device_kind
    print(f"{device}, {jax.device_count()} device(s), jax {jax.__version__}, {dtype}")
    channels = args.channels or (CHANNELS if on_gpu() else ((64, 64), (128, 128)))
    networks = args.network or ["3d", "4d"]
    results = []
    for rows in args.rows or ([10_240, 102_400, 1_024_000] if on_gpu() else [20_480, 102_400]):
        execution = Execution(dtype=dtype, implementation=args.implementation)
        coords = room_voxels(rows, args.voxel)
        network = make_network(
            "Res16UNet34C",
            coords,
            level_capacities(coords),
            stem_kernel_size=5,
            execution=execution,
        )
        workloads = single_layers(network, channels, dtype, args.implementation)
        if "3d" in networks:
            workloads |= whole_network("Res16UNet34C", network)
        results += report(f"3D, voxels of {args.voxel} m", network, workloads, dtype, args.rounds)
        if "4d" in networks:
            coords = sequence_voxels(rows // 4 * 4, args.voxel)
            network = make_network(
                "MinkUNet14", coords, level_capacities(coords), execution=execution
            )
            workloads = {"maps, 5 levels": map_workload(network)}
            layer, kernel_map = (
                submanifold_layer(network, 96, 96),
                network.pyramid.levels[0].kernel_map,
            )
            workloads |= layer_lines("3^4", layer, kernel_map, dtype, args.implementation)
            workloads |= whole_network("MinkUNet14 4D", network)
            results += report(
                f"4D, voxels of {args.voxel} m", network, workloads, dtype, args.rounds
            )
    head = {"device": device, "jax": jax.__version__, "implementation": args.implementation}
    write_numbers(args.output, {**head, "dtype": dtype, "results": results})


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory="lower --rows")
