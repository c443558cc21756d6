"""Lines of the engine's benchmark: single layers, maps and networks, beside what limits them."""

from collections.abc import Sequence
from typing import Any

from benchmarks.timing import copy_program, matmul_program, peak_memory_gib, time_programs
from benchmarks.workloads import (
    Network,
    Workload,
    layer_workloads,
    map_workload,
    network_workloads,
    stem_layer,
    strided_layers,
    submanifold_layer,
)
from fourdc_jax.kernels.compiled import count_launches


def single_layers(
    network: Network, channels: Sequence[tuple[int, int]], dtype: str, implementation: str
) -> dict[str, Workload]:
    """Maps and the layers of the first level; `channels` of the 3^3 ones."""
    how = (dtype, implementation)
    workloads = {"maps, 5 levels": map_workload(network)}
    kernel_map = network.pyramid.levels[0].kernel_map
    for c_in, c_out in channels:
        workloads |= layer_lines("3^3", submanifold_layer(network, c_in, c_out), kernel_map, *how)
    workloads |= layer_lines("5^3", stem_layer(network), network.pyramid.stem_map, *how)
    strided, _ = strided_layers(network, 32, 32)
    _, transposed = strided_layers(network, 128, 96)
    down = network.pyramid.downsamples[0]
    workloads |= layer_lines("strided", strided, down, *how)
    return workloads | layer_lines("transposed", transposed, down, *how)


def layer_lines(
    name: str, layer: Any, kernel_map: Any, dtype: str, implementation: str
) -> dict[str, Workload]:
    both = layer_workloads(layer, kernel_map, dtype, implementation)
    return {f"{name} {layer.c_in}>{layer.c_out} {call}": both[call] for call in both}


def whole_network(name: str, network: Network) -> dict[str, Workload]:
    calls = network_workloads(network)
    return {f"{name} {call}": workload for call, workload in calls.items()}


def report(
    title: str, network: Network, workloads: dict[str, Workload], dtype: str, rounds: int
) -> list[dict[str, Any]]:
    """Compile all, time all in turns, print one line each and return the numbers."""
    sizes = network.sizes
    volume = network.pyramid.levels[0].kernel_map.rows.shape[0]
    product, operations = matmul_program(dtype)
    copy, num_bytes = copy_program()
    programs = {"matmul": product, "copy": copy}
    programs |= {name: workload.compile() for name, workload in workloads.items()}
    seconds = time_programs(programs, rounds)
    rate, bandwidth = operations / seconds["matmul"], num_bytes / seconds["copy"]
    print(
        f"\n{title}, levels {list(sizes.rows)}\n"
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
