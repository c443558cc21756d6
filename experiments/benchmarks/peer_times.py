"""This engine and its peers on the same layers and networks: checked first, then timed in turns."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
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
from fourdc_jax.sparse.execution import Execution

CHANNELS = ((32, 32), (64, 64), (128, 96), (96, 96), (128, 128), (256, 256))
NETWORK = "Res16UNet34C"
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # of the largest


def compare_engines(
    *,
    rows: Sequence[int],
    voxel: float,
    channels: Sequence[tuple[int, int]] | None,
    whole_network: bool,
    rounds: int,
) -> list[dict[str, Any]]:
    """Prints and returns the seconds of every call at every number of voxels.

    Raises:
      ValueError: PyTorch has no GPU where JAX has one, or this engine's own layer is wrong.
    """
    gpu = on_gpu()
    if gpu and not torch.cuda.is_available():
        raise ValueError("JAX has a GPU and PyTorch has none: install a CUDA build of torch")
    torch.manual_seed(0)
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    kind = jax.devices()[0].device_kind
    print(f"{kind}, {cores} cores, jax {jax.__version__}, torch {torch.__version__}")
    others = checked_peers("cuda" if gpu else "cpu", voxel)
    channels = channels or (CHANNELS if gpu else ((64, 64), (128, 128)))
    dtype = jnp.bfloat16 if gpu else jnp.float32
    execution = Execution(dtype=jnp.dtype(dtype).name)
    results = []
    for count in rows:
        coords = room_voxels(count, voxel)
        capacities = level_capacities(coords)
        network = make_network(NETWORK, coords, capacities, stem_kernel_size=5, execution=execution)
        neighbours = network.sizes.pairs[0] / count
        print(f"\n{count} voxels of {voxel} m, {neighbours:.1f} of 27 neighbours exist")
        calls = layer_calls(network, "3^3", channels, others, dtype)
        if whole_network:
            calls |= network_calls(network, others)
        results += report(count, calls, others, dtype, rounds)
        if gpu:
            coords = sequence_voxels(count // 4 * 4, voxel)
            network = make_network(
                "MinkUNet14", coords, level_capacities(coords), execution=execution
            )
            calls = layer_calls(network, "3^4", [(64, 64), (96, 96)], others, dtype)
            results += report(count, calls, others, dtype, rounds)
    return results


def checked_peers(device: str, voxel: float) -> list[Peer]:
    """The engines whose layer is right, in the best dtype that they are right in.

    Raises:
      ValueError: this project's own layer is wrong.
    """
    coords = np.asarray(room_voxels(4096, voxel))
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
        raise ValueError("this engine is wrong: its time would mean nothing")
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
    rows: int, calls: dict[str, dict[str, Program]], others: list[Peer], dtype: Any, rounds: int
) -> list[dict[str, Any]]:
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
    seconds = time_programs(programs, rounds)
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
