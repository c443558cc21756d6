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

import json
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags
from benchmarks.rooms import level_capacities, room_voxels, sequence_voxels
from benchmarks.timing import copy_program, matmul_program, on_gpu, peak_memory_gib, time_programs
from benchmarks.workloads import (
    Network,
    Workload,
    layer_workloads,
    make_network,
    map_workload,
    network_workloads,
    stem_layer,
    strided_layers,
    submanifold_layer,
)
from fourdc_jax.kernels.compiled import count_launches

DTYPES = ["bfloat16", "float16", "float32"]
CHANNELS = ((32, 32), (64, 64), (128, 96), (96, 96), (128, 128), (256, 256))

IMPLEMENTATION = flags.DEFINE_string("implementation", "auto", "auto, xla or triton")
DTYPE = flags.DEFINE_enum("dtype", None, DTYPES, "default: bfloat16 on a GPU, float32 on a CPU")
ROWS = flags.DEFINE_multi_integer(
    "rows", None, "voxels of each size; default: 10240, 102400, 1024000 on a GPU, less on a CPU"
)
VOXEL = flags.DEFINE_float("voxel", 0.02, "metres")
CHANNEL_PAIRS = flags.DEFINE_multi_string(
    "channels", None, "c_in,c_out of each 3^3 layer; default: six on a GPU, two on a CPU"
)
ROUNDS = flags.DEFINE_integer("rounds", 7, "timed rounds", lower_bound=1)
NETWORKS = flags.DEFINE_multi_enum("network", ["3d", "4d"], ["3d", "4d", "none"], "also whole ones")
OUTPUT = flags.DEFINE_string("output", None, "JSON file of all numbers")


def main(_: list[str]) -> None:
    dtype = DTYPE.value or ("bfloat16" if on_gpu() else "float32")
    device = jax.devices()[0].device_kind
    print(f"{device}, {jax.device_count()} device(s), jax {jax.__version__}, {dtype}")
    results = []
    for rows in ROWS.value or ([10_240, 102_400, 1_024_000] if on_gpu() else [20_480, 102_400]):
        options = {"implementation": IMPLEMENTATION.value, "dtype": jnp.dtype(dtype)}
        coords = room_voxels(rows, VOXEL.value)
        network = make_network(
            "Res16UNet34C", coords, level_capacities(coords), stem_kernel_size=5, **options
        )
        workloads = single_layers(network, dtype)
        if "3d" in NETWORKS.value:
            workloads |= whole_network("Res16UNet34C", network)
        results += report(network, "3D", workloads, dtype)
        if "4d" in NETWORKS.value:
            coords = sequence_voxels(rows // 4 * 4, VOXEL.value)
            network = make_network("MinkUNet14", coords, level_capacities(coords), **options)
            workloads = {"maps, 5 levels": map_workload(network)}
            layer = submanifold_layer(network, 96, 96)
            workloads |= layer_lines("3^4", layer, network.pyramid.levels[0].kernel_map, dtype)
            workloads |= whole_network("MinkUNet14 4D", network)
            results += report(network, "4D", workloads, dtype)
    if OUTPUT.value:
        head = {"device": device, "jax": jax.__version__, "implementation": IMPLEMENTATION.value}
        with open(OUTPUT.value, "w") as file:
            json.dump({**head, "dtype": dtype, "results": results}, file, indent=1)


def single_layers(network: Network, dtype: str) -> dict[str, Workload]:
    """Maps and the layers of the first level."""
    default = [f"{a},{b}" for a, b in CHANNELS] if on_gpu() else ["64,64", "128,128"]
    pairs = [tuple(map(int, text.split(","))) for text in CHANNEL_PAIRS.value or default]
    workloads = {"maps, 5 levels": map_workload(network)}
    kernel_map = network.pyramid.levels[0].kernel_map
    for c_in, c_out in pairs:
        workloads |= layer_lines("3^3", submanifold_layer(network, c_in, c_out), kernel_map, dtype)
    workloads |= layer_lines("5^3", stem_layer(network), network.pyramid.stem_map, dtype)
    strided, _ = strided_layers(network, 32, 32)
    _, transposed = strided_layers(network, 128, 96)
    down = network.pyramid.downsamples[0]
    workloads |= layer_lines("strided", strided, down, dtype)
    return workloads | layer_lines("transposed", transposed, down, dtype)


def layer_lines(name: str, layer: Any, kernel_map: Any, dtype: str) -> dict[str, Workload]:
    both = layer_workloads(layer, kernel_map, dtype, IMPLEMENTATION.value)
    return {f"{name} {layer.c_in}>{layer.c_out} {call}": both[call] for call in both}


def whole_network(name: str, network: Network) -> dict[str, Workload]:
    calls = network_workloads(network)
    return {f"{name} {call}": workload for call, workload in calls.items()}


def report(network: Network, dimension: str, workloads: dict[str, Workload], dtype: str) -> list:
    """Compile all, time all in turns, print one line each and return the numbers."""
    sizes = network.sizes
    volume = network.pyramid.levels[0].kernel_map.rows.shape[0]
    product, operations = matmul_program(dtype)
    copy, num_bytes = copy_program()
    programs = {"matmul": product, "copy": copy}
    programs |= {name: workload.compile() for name, workload in workloads.items()}
    seconds = time_programs(programs, ROUNDS.value)
    rate, bandwidth = operations / seconds["matmul"], num_bytes / seconds["copy"]
    print(
        f"\n{dimension}, {sizes.rows[0]} voxels of {VOXEL.value} m, levels {list(sizes.rows)}\n"
        f"{sizes.pairs[0] / sizes.rows[0]:.1f} of {volume} neighbours exist; peak memory so far "
        f"{peak_memory_gib():.2f} GiB\n"
        f"{dtype} matmul {rate / 1e12:.3g} TFLOP/s, copy {bandwidth / 1e12:.3g} TB/s"
    )
    columns = ("ms", "TFLOP/s", "of matmul", "of copy", "of roofline", "launches", "MiB")
    print(f"{'':26s}{''.join(f'{name:>{max(len(name) + 1, 8)}s}' for name in columns)}")
    results = []
    for name, workload in workloads.items():
        program, cost, time = programs[name], workload.cost, seconds[name]
        launches = count_launches(program.text)
        moved = sum(moved for _, moved in cost.products)
        line = f"{name:26s}{1e3 * time:8.3f}"
        if cost.products:
            speed = cost.operations / time
            line += f"{speed / 1e12:8.3g}{speed / rate:10.3f}{moved / time / bandwidth:8.3f}"
            line += f"{cost.roofline(rate, bandwidth) / time:12.3f}"
        else:
            line += " " * 38
        print(f"{line}{launches.total() / program.calls:9.0f}{program.mebibytes:8.0f}")
        results.append(
            {
                "name": name,
                "rows": sizes.rows,
                "pairs": sizes.pairs,
                "seconds": time,
                "operations": cost.operations,
                "bytes": moved,
                "matmul_rate": rate,
                "copy_bandwidth": bandwidth,
                "roofline_seconds": cost.roofline(rate, bandwidth),
                "launches": dict(launches),
                "calls": program.calls,
                "mebibytes": program.mebibytes,
                "compile_seconds": program.compile_seconds,
            }
        )
    return results


if __name__ == "__main__":
    app.run(main)
