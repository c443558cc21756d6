"""This engine beside its peers, in one process and in turns, on a CPU or a GPU.

    pip install torch spconv                  # CPU, or spconv-cu126 for a GPU
    pip install torch spconv-triton           # GPU
    python experiments/bench_peers.py [--device gpu] [--rows 20480]

Peers are no dependency: whoever wants the comparison installs them, and those that are missing are
named. Same coordinates, same channels, same network (Res16UNet34C with a 5^3 stem and batch
normalisation, SGD with momentum): layers with their maps cached, all maps, and the network's
forward pass and training step with the maps built anew. On a GPU features are bfloat16 where an
engine can, else float16, networks have float32 parameters, and 4D layers with 81 offsets join; on a
CPU all is float32. `timing.py` says how is measured.

One layer of each engine is checked against a float64 sum over neighbours before anything is timed;
an engine that is wrong or fails is named and left out. On the CPU spconv's scatter is exact with
one thread only; the wrong rows with all threads are counted.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle workers of one engine leave the cores
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # engines share the GPU's memory

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl import app, flags
from benchmarks import peers
from benchmarks.peers import Peer
from benchmarks.rooms import level_capacities, room_voxels, sequence_voxels
from benchmarks.timing import Program, matmul_program, number_of_sets, on_gpu, time_programs
from benchmarks.workloads import (
    Network,
    layer_workloads,
    make_network,
    map_workload,
    network_workloads,
    submanifold_layer,
)

from fourdc_jax import kernels

CHANNELS = ((32, 32), (64, 64), (128, 96), (96, 96), (128, 128), (256, 256))
DEVICE = flags.DEFINE_enum("device", None, ["cpu", "gpu"], "default: what JAX finds")
ROWS = flags.DEFINE_multi_integer("rows", None, "voxels of each size")
VOXEL = flags.DEFINE_float("voxel", 0.02, "metres")
CHANNEL_PAIRS = flags.DEFINE_multi_string("channels", None, "c_in,c_out of each 3^3 layer")
ROUNDS = flags.DEFINE_integer("rounds", 5, "timed rounds", lower_bound=1)
WHOLE_NETWORK = flags.DEFINE_bool("network", True, "also the whole Res16UNet34C")
OUTPUT = flags.DEFINE_string("output", None, "JSON file of all numbers")

NETWORK = "Res16UNet34C"
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # of the largest


def main(_: list[str]) -> None:
    gpu = on_gpu()
    if DEVICE.value not in (None, "gpu" if gpu else "cpu"):
        raise SystemExit(f"--device {DEVICE.value}, but JAX runs on {jax.default_backend()!r}")
    if gpu and not torch.cuda.is_available():
        raise SystemExit("JAX has a GPU and PyTorch has none: install a CUDA build of torch")
    torch.manual_seed(0)
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    kind = jax.devices()[0].device_kind
    print(f"{kind}, {cores} cores, jax {jax.__version__}, torch {torch.__version__}")
    others = checked_peers("cuda" if gpu else "cpu")
    results = []
    for rows in ROWS.value or ([10_240, 102_400, 1_024_000] if gpu else [20_480, 102_400]):
        coords = room_voxels(rows, VOXEL.value)
        dtype = jnp.bfloat16 if gpu else jnp.float32
        network = make_network(
            NETWORK, coords, level_capacities(coords), stem_kernel_size=5, dtype=dtype
        )
        neighbours = network.sizes.pairs[0] / rows
        print(f"\n{rows} voxels of {VOXEL.value} m, {neighbours:.1f} of 27 neighbours exist")
        default = CHANNELS if gpu else ((64, 64), (128, 128))
        pairs = [tuple(map(int, text.split(","))) for text in CHANNEL_PAIRS.value or ()] or default
        calls = layer_calls(network, "3^3", pairs, others, dtype)
        if WHOLE_NETWORK.value:
            calls |= network_calls(network, others)
        results += report(rows, calls, others, dtype)
        if gpu:
            coords = sequence_voxels(rows // 4 * 4, VOXEL.value)
            network = make_network("MinkUNet14", coords, level_capacities(coords), dtype=dtype)
            calls = layer_calls(network, "3^4", [(64, 64), (96, 96)], others, dtype)
            results += report(rows, calls, others, dtype)
    if OUTPUT.value:
        with open(OUTPUT.value, "w") as file:
            json.dump({"device": kind, "results": results}, file, indent=1)


def checked_peers(device: str) -> list[Peer]:
    """The engines whose layer is right, in the best dtype that they are right in.

    Raises:
      SystemExit: this project's own layer is wrong.
    """
    coords = np.asarray(room_voxels(4096, VOXEL.value))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(coords), 64)).astype(np.float32)
    w = rng.normal(size=(27, 64, 64)).astype(np.float32)
    halves = [torch.bfloat16, torch.float16]
    dtypes = halves if device == "cuda" else [torch.float32]
    exact = exact_layer(coords, x, w)
    own = str(dtypes[0]).removeprefix("torch.")
    kernel_map = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(len(coords)))
    y = jax.jit(kernels.sparse_conv)(jnp.asarray(x, own), jnp.asarray(w, own), kernel_map)
    wrong = wrong_rows(np.asarray(y, np.float32), exact, TOLERANCE[dtypes[0]])
    print(f"wrong rows of one layer: ours {wrong} ({own})")
    if wrong:
        raise SystemExit("this engine is wrong: its time would mean nothing")
    found = []
    for name, engine in peers.find_peers(device).items():
        for dtype in dtypes:
            peer = Peer(name, engine, device, dtype)
            wrong, reason = attempt(partial(peer_wrong_rows, peer, coords, x, w, exact))
            print(f"  {name} {wrong if reason is None else reason} ({dtype})")
            if reason is None and wrong[0] == 0:
                found.append(peer)
                break
    return found


def exact_layer(coords: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A 3^3 layer as a float64 sum over neighbours."""
    row_of = {tuple(cell): row for row, cell in enumerate(coords.tolist())}
    exact = np.zeros((len(coords), w.shape[2]))
    for k, offset in enumerate(np.asarray(kernels.kernel_offsets(3, 3))):
        shifted = (coords + np.insert(offset, 0, 0)).tolist()
        rows = np.array([row_of.get(tuple(cell), -1) for cell in shifted])
        exact[rows >= 0] += x[rows[rows >= 0]].astype(np.float64) @ w[k]
    return exact


def peer_wrong_rows(
    peer: Peer, coords: np.ndarray, x: np.ndarray, w: np.ndarray, exact: np.ndarray
) -> tuple[int, ...]:
    """On a CPU with one thread and with all; on a GPU one number."""
    layer = peers.submanifold_layer(peer, w, 3)
    features = torch.from_numpy(x).to(peer.device, peer.dtype)
    threads, counts = torch.get_num_threads(), []
    for count in (1, threads) if peer.device == "cpu" else (threads,):
        torch.set_num_threads(count)
        with torch.no_grad():
            y = layer(peers.sparse_tensor(peer, coords, features)).features
        counts.append(wrong_rows(y.float().cpu().numpy(), exact, TOLERANCE[peer.dtype]))
    return tuple(counts)


def wrong_rows(result: np.ndarray, exact: np.ndarray, tolerance: float) -> int:
    right = np.abs(result - exact).max(1) <= tolerance * np.abs(exact).max()
    return int((~right).sum())


def attempt(function: Callable[[], Any]) -> tuple[Any, str | None]:
    """The result, or the reason why there is none: engines fail in their own ways."""
    try:
        return function(), None
    except Exception as error:
        return None, f"fails: {type(error).__name__}: {str(error).splitlines()[:1]}"[:90]


def layer_calls(
    network: Network, kernel: str, pairs: Any, others: list[Peer], dtype: Any
) -> dict[str, dict[str, Program]]:
    """Call -> engine -> program, of single layers."""
    coords, calls = np.asarray(network.coords), {}
    for c_in, c_out in pairs:
        name = f"{kernel} {c_in}>{c_out}"
        layer = submanifold_layer(network, c_in, c_out)
        kernel_map = network.pyramid.levels[0].kernel_map
        workloads = layer_workloads(layer, kernel_map, dtype, "auto")
        own = {call: workload.compile() for call, workload in workloads.items()}
        num_sets = number_of_sets(jnp.dtype(dtype).itemsize * len(coords) * (c_in + c_out))
        calls |= {f"{name} {call}": {"ours": own[call]} for call in own}
        for peer in others:
            programs, reason = attempt(
                partial(peers.layer_programs, peer, coords, c_in, c_out, num_sets)
            )
            if reason is not None:
                print(f"{peer.name} {name} {reason}")
                continue
            for call, program in programs.items():
                calls[f"{name} {call}"][peer.name] = program
    return calls


def network_calls(network: Network, others: list[Peer]) -> dict[str, dict[str, Program]]:
    """Call -> engine -> program, of maps and the whole network."""
    own = {"all maps": map_workload(network)}
    own |= {f"{NETWORK} {call}": work for call, work in network_workloads(network).items()}
    calls = {call: {"ours": workload.compile()} for call, workload in own.items()}
    for peer in others:
        programs, reason = attempt(
            partial(peers.network_programs, peer, NETWORK, np.asarray(network.coords))
        )
        if reason is not None:
            print(f"{peer.name} {NETWORK} {reason}")
            continue
        for call, program in programs.items():
            calls[call][peer.name] = program
    return calls


def report(
    rows: int, calls: dict[str, dict[str, Program]], others: list[Peer], dtype: Any
) -> list[dict]:
    """Time all engines in turns, print a line for each call, return the numbers."""
    product, operations = matmul_program(dtype)
    programs = {("matmul", "ours"): product}
    for call, engines in calls.items():  # neighbours in time
        for engine, program in engines.items():
            _, reason = attempt(partial(program.run, 1))
            if reason is None:
                programs[call, engine] = program
            else:
                print(f"{engine} {call} {reason}")
    seconds = time_programs(programs, ROUNDS.value)
    print(f"{jnp.dtype(dtype)} matmul {operations / seconds['matmul', 'ours'] / 1e12:.3g} TFLOP/s")
    names = [peer.name for peer in others]
    titles = "".join(f"{name + ' ms':>18s}{'/ ours':>8s}" for name in names)
    print(f"{'':26s}{'ours ms':>12s}{titles}")
    results = []
    for call in calls:
        own = seconds[call, "ours"]
        line = f"{call:26s}{1e3 * own:12.3f}"
        for name in names:
            other = seconds.get((call, name))
            line += " " * 26 if other is None else f"{1e3 * other:18.3f}{other / own:8.2f}"
        print(line)
        times = {engine: seconds.get((call, engine)) for engine in ["ours", *names]}
        results.append({"rows": rows, "name": call, "seconds": times})
    return results


if __name__ == "__main__":
    app.run(main)
