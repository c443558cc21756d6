"""Speed of the sparse-convolution engine on surface-like rooms, in one run.

    python experiments/bench_sparse_conv.py [--implementation xla] [--rows 20480 --voxels 0.05]

For every size: all maps of a U-Net, one 3^3 layer, forward and forward + backward, and the whole
Res16UNet34C (5^3 stem). GFLOP count the multiplications and additions of existing pairs of voxels
only, never what an implementation computes beside them. `of matmul` is the ratio to the float32
matrix product of 2048^3 measured in turns with the rest.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from bench_rooms import level_capacities, room_voxels
from timing import compile_timed, matmul_call, peak_memory_gib, time_interleaved

import kernels
from fourdc_jax.models.unet import SparseUNet

IMPLEMENTATION = flags.DEFINE_string("implementation", "auto", "auto, xla or triton")
ROWS = flags.DEFINE_multi_integer("rows", [20_480, 102_400], "voxels of each room")
VOXELS = flags.DEFINE_multi_float("voxels", [0.05, 0.02], "voxel size of each room, metres")
CHANNELS = flags.DEFINE_multi_integer("channels", [64, 128], "channels of the single layers")
ROUNDS = flags.DEFINE_integer("rounds", 7, "timed rounds", lower_bound=1)
NETWORK = flags.DEFINE_bool("network", True, "also the whole Res16UNet34C")


def main(_: list[str]) -> None:
    device = jax.devices()[0]
    print(f"{device.device_kind}, {jax.device_count()} device(s), jax {jax.__version__}")
    for rows, voxel in zip(ROWS.value, VOXELS.value, strict=True):
        coords = room_voxels(rows, voxel)
        network = SparseUNet.named(
            "Res16UNet34C", dimension=3, out_channels=20, stem_kernel_size=5,
            implementation=IMPLEMENTATION.value,
        )  # fmt: skip
        pyramid_of = make_pyramid_builder(network, level_capacities(coords))
        pyramid = jax.jit(pyramid_of)(coords)
        pairs = [int(jnp.sum(level.kernel_map.rows >= 0)) for level in pyramid.levels]
        print(
            f"\n{rows} voxels of {voxel} m, {pairs[0] / rows:.1f} of 27 neighbours exist; "
            f"levels {[int(level.num_rows) for level in pyramid.levels]}"
        )
        calls = {"all maps": (pyramid_of, (coords,), 0.0)}
        for channels in CHANNELS.value:
            calls |= layer_calls(pyramid.levels[0].kernel_map, channels, pairs[0])
        if NETWORK.value:
            calls |= network_calls(network, pyramid_of, pyramid, coords, pairs)
        report(calls)


def make_pyramid_builder(network: SparseUNet, capacities: list[int]):
    def pyramid_of(coords):
        return network.build_pyramid(coords, jnp.int32(capacities[0]), capacities)

    return pyramid_of


def layer_calls(kernel_map, channels: int, pairs: int):
    """One 3^3 layer: forward, and forward with both gradients."""
    rng = np.random.default_rng(0)
    rows = kernel_map.rows.shape[1]
    x = jnp.asarray(rng.normal(size=(rows, channels)).astype(np.float32))
    w = jnp.asarray(rng.normal(size=(27, channels, channels)).astype(np.float32))

    def forward(x, w, kernel_map):
        return kernels.sparse_conv(x, w, kernel_map, implementation=IMPLEMENTATION.value)

    def with_gradients(x, w, kernel_map):
        y, pullback = jax.vjp(lambda x, w: forward(x, w, kernel_map), x, w)
        return y, pullback(y)

    gflop = 2 * pairs * channels**2 / 1e9
    name = f"3^3 {channels}->{channels}"
    return {
        f"{name} forward": (forward, (x, w, kernel_map), gflop),
        f"{name} forward + backward": (with_gradients, (x, w, kernel_map), 3 * gflop),
    }


def network_calls(network: SparseUNet, pyramid_of, pyramid, coords, pairs: list[int]):
    """The whole network, maps included: forward with batch statistics, and an SGD step."""
    x = jnp.ones((coords.shape[0], 3), jnp.float32)
    variables = jax.jit(lambda k: network.init(k, x, pyramid, train=False))(jax.random.key(0))
    gflop = network_gflop(variables["params"], pyramid, pairs)

    def forward(params, coords, x):
        variables_now = {"params": params, "batch_stats": variables["batch_stats"]}
        y, _ = network.apply(
            variables_now, x, pyramid_of(coords), train=True, mutable=["batch_stats"]
        )
        return y

    def step(params, coords, x):
        loss = lambda p: jnp.mean(jnp.square(forward(p, coords, x)))  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)

    arguments = (variables["params"], coords, x)
    return {
        "Res16UNet34C forward": (forward, arguments, gflop),
        "Res16UNet34C training step": (step, arguments, 3 * gflop),
    }


def network_gflop(params, pyramid, pairs: list[int]) -> float:
    """Operations of one forward pass on existing pairs, read off the kernels' names and shapes."""
    sizes = [int(level.num_rows) for level in pyramid.levels]
    stem_pairs = int(jnp.sum(pyramid.stem_map.rows >= 0))
    total = 0
    for path, kernel in jax.tree_util.tree_leaves_with_path(params):
        layer = path[0].key
        if path[-1].key != "kernel":
            continue
        if layer.startswith("down"):
            used = sizes[int(layer[4]) - 1]
        elif layer.startswith("up"):
            used = sizes[8 - int(layer[2])]
        elif layer == "stem_conv":
            used = stem_pairs
        else:
            stage = int(layer[5]) if layer.startswith("stage") else 8
            level = stage if stage <= 4 else 8 - stage
            used = pairs[level] if kernel.ndim == 3 else sizes[level]
        total += 2 * used * kernel.shape[-2] * kernel.shape[-1]
    return total / 1e9


def report(calls) -> None:
    """Compile all, time all in turns, print one line each."""
    product, product_gflop = matmul_call()
    functions, compiled = {"matmul": product}, {}
    for name, (function, arguments, _) in calls.items():
        functions[name], *compiled[name] = compile_timed(function, *arguments)
    seconds = time_interleaved(functions, ROUNDS.value)
    rate = product_gflop / seconds["matmul"]
    print(f"float32 matmul {rate:.0f} GFLOP/s; peak resident memory {peak_memory_gib():.2f} GiB")
    print(f"{'':32s}{'ms':>9s}{'GFLOP/s':>9s}{'of matmul':>11s}{'MiB':>8s}{'compile s':>11s}")
    for name, (_, _, gflop) in calls.items():
        speed = f"{gflop / seconds[name]:9.0f}{gflop / seconds[name] / rate:11.2f}"
        speed = speed if gflop else " " * 20
        compile_seconds, mib = compiled[name]
        print(f"{name:32s}{1e3 * seconds[name]:9.1f}{speed}{mib:8.0f}{compile_seconds:11.1f}")


if __name__ == "__main__":
    app.run(main)
