"""This engine beside its peers on the CPU, in one process and in turns.

    pip install torch==2.13.0 && pip install spconv
    python experiments/bench_peers.py [--rows 20480 --voxels 0.05]

Peers are no dependency: whoever wants the comparison installs them. Same coordinates, same
channels, same network (Res16UNet34C with a 5^3 stem and batch normalisation): one layer with its
map cached, all maps, and the network's forward pass and training step with the maps built anew. One
layer of each engine is checked against a float64 sum over neighbours before anything is timed.
spconv 2.3.8 on the CPU asks for a CUDA stream in its backward pass, which is answered here, and its
scatter is exact with one thread only; the wrong rows with all threads are counted.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle workers of one engine leave the cores

import jax
import jax.numpy as jnp
import numpy as np
import spconv.pytorch as spconv
import torch
from absl import app, flags
from bench_rooms import level_capacities, room_voxels
from timing import compile_timed, matmul_call, time_interleaved

import kernels
from fourdc_jax.models.unet import SparseUNet

ROWS = flags.DEFINE_multi_integer("rows", [20_480, 102_400], "voxels of each room")
VOXELS = flags.DEFINE_multi_float("voxels", [0.05, 0.02], "voxel size of each room, metres")
ROUNDS = flags.DEFINE_integer("rounds", 5, "timed rounds", lower_bound=1)
PLANES = (32, 64, 128, 256, 256, 128, 96, 96)
LAYERS = (2, 3, 4, 6, 2, 2, 2, 2)

spconv.ops.get_current_stream = lambda: 0


class PeerBlock(spconv.SparseModule):
    """BasicBlock of the residual U-Net in spconv."""

    def __init__(self, c_in: int, c_out: int, key: str):
        super().__init__()
        conv = lambda c: spconv.SubMConv3d(c, c_out, 3, bias=False, indice_key=key)  # noqa: E731
        self.conv1, self.conv2 = conv(c_in), conv(c_out)
        self.norm1, self.norm2 = torch.nn.BatchNorm1d(c_out), torch.nn.BatchNorm1d(c_out)
        self.shortcut = None
        if c_in != c_out:
            linear = torch.nn.Linear(c_in, c_out, bias=False)
            self.shortcut = torch.nn.Sequential(linear, torch.nn.BatchNorm1d(c_out))

    def forward(self, x):
        y = self.conv1(x)
        y = y.replace_feature(torch.relu(self.norm1(y.features)))
        y = self.conv2(y)
        identity = x.features if self.shortcut is None else self.shortcut(x.features)
        return y.replace_feature(torch.relu(self.norm2(y.features) + identity))


class PeerUNet(torch.nn.Module):
    """Res16UNet34C in spconv, maps shared by `indice_key` as its users do."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        norm = torch.nn.BatchNorm1d
        self.stem = spconv.SubMConv3d(c_in, 32, 5, bias=False, indice_key="stem")
        self.stem_norm = norm(32)
        self.down, self.down_norm, self.up, self.up_norm, self.stages = (
            torch.nn.ModuleList() for _ in range(5)
        )
        width, skips = 32, [32]
        for level in range(4):
            self.down.append(
                spconv.SparseConv3d(width, width, 2, 2, bias=False, indice_key=f"down{level}")
            )
            self.down_norm.append(norm(width))
            self.stages.append(self.stage(width, level, f"level{level + 1}"))
            width = PLANES[level]
            skips.append(width)
        skips.pop()
        for level in (3, 2, 1, 0):
            stage = 7 - level
            self.up.append(
                spconv.SparseInverseConv3d(
                    width, PLANES[stage], 2, indice_key=f"down{level}", bias=False
                )
            )
            self.up_norm.append(norm(PLANES[stage]))
            self.stages.append(self.stage(PLANES[stage] + skips.pop(), stage, f"level{level}"))
            width = PLANES[stage]
        self.final = torch.nn.Linear(width, c_out)

    @staticmethod
    def stage(c_in: int, stage: int, key: str):
        widths = [c_in] + [PLANES[stage]] * LAYERS[stage]
        return torch.nn.Sequential(*(PeerBlock(a, PLANES[stage], key) for a in widths[:-1]))

    def forward(self, x):
        relu = lambda x, norm: x.replace_feature(torch.relu(norm(x.features)))  # noqa: E731
        x = relu(self.stem(x), self.stem_norm)
        skips = []
        for level in range(4):
            skips.append(x)
            x = relu(self.down[level](x), self.down_norm[level])
            x = self.stages[level](x)
        for step in range(4):
            x = relu(self.up[step](x), self.up_norm[step])
            x = x.replace_feature(torch.cat([x.features, skips.pop().features], 1))
            x = self.stages[4 + step](x)
        return self.final(x.features)


def main(_: list[str]) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    print(f"jax {jax.__version__}, torch {torch.__version__}, {len(os.sched_getaffinity(0))} cores")
    for rows, voxel in zip(ROWS.value, VOXELS.value, strict=True):
        coords = room_voxels(rows, voxel)
        print(f"\n{rows} voxels of {voxel} m")
        check_layers(coords)
        ours, theirs = our_calls(coords), peer_calls(coords)
        product, gflop = matmul_call()
        both = {"matmul": product}
        for name in ours:  # neighbours in time
            both |= {f"ours {name}": ours[name], f"spconv {name}": theirs[name]}
        seconds = time_interleaved(both, ROUNDS.value)
        print(f"float32 matmul {gflop / seconds['matmul']:.0f} GFLOP/s")
        print(f"{'':28s}{'ours ms':>10s}{'spconv ms':>11s}{'spconv / ours':>15s}")
        for name in ours:
            a, b = seconds[f"ours {name}"], seconds[f"spconv {name}"]
            print(f"{name:28s}{1e3 * a:10.1f}{1e3 * b:11.1f}{b / a:15.2f}")


def peer_tensor(coords, features):
    cells = np.asarray(coords).copy()
    cells[:, 1:] -= cells[:, 1:].min(0)
    shape = [int(v) + 1 for v in cells[:, 1:].max(0)]
    return spconv.SparseConvTensor(features, torch.from_numpy(cells), shape, 1)


def check_layers(coords, channels: int = 64) -> None:
    """Both engines' 3^3 layer against a float64 sum over neighbours; wrong rows are counted."""
    rng = np.random.default_rng(0)
    rows = coords.shape[0]
    x = rng.normal(size=(rows, channels)).astype(np.float32)
    w = rng.normal(size=(27, channels, channels)).astype(np.float32)
    kernel_map = jax.jit(kernels.build_kernel_map)(coords, jnp.int32(rows))
    table = np.asarray(kernel_map.rows)
    exact = np.zeros((rows, channels))
    for k in range(27):
        exists = table[k] >= 0
        exact[exists] += x[table[k, exists]].astype(np.float64) @ w[k]
    tolerance = 1e-5 * np.abs(exact).max()

    def wrong_rows(result) -> int:
        return int((np.abs(np.asarray(result) - exact).max(1) > tolerance).sum())

    layer = spconv.SubMConv3d(channels, channels, 3, bias=False, indice_key="check")
    # spconv's kernel is [out, x, y, z, in] with z fastest; ours [k, in, out] with x fastest.
    cube = w.reshape(3, 3, 3, channels, channels).transpose(4, 2, 1, 0, 3)
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(cube))
    threads, wrong = torch.get_num_threads(), []
    for count in (1, threads):
        torch.set_num_threads(count)
        with torch.no_grad():
            wrong.append(wrong_rows(layer(peer_tensor(coords, torch.from_numpy(x))).features))
    ours = wrong_rows(jax.jit(kernels.sparse_conv)(x, w, kernel_map))
    print(f"wrong rows: ours {ours}, spconv {wrong[0]} (1 thread), {wrong[1]} ({threads} threads)")
    if ours or wrong[0]:
        raise SystemExit("an engine is wrong: its time would mean nothing")


def our_calls(coords):
    """Name -> call, compiled."""
    rows = coords.shape[0]
    net = SparseUNet.named("Res16UNet34C", dimension=3, out_channels=20, stem_kernel_size=5)
    capacities = level_capacities(coords)
    x3 = jnp.ones((rows, 3), jnp.float32)

    def pyramid_of(coords):
        return net.build_pyramid(coords, jnp.int32(rows), capacities)

    pyramid = jax.jit(pyramid_of)(coords)
    variables = jax.jit(lambda k: net.init(k, x3, pyramid, train=False))(jax.random.key(0))

    def forward(params, coords, x):
        now = {"params": params, "batch_stats": variables["batch_stats"]}
        return net.apply(now, x, pyramid_of(coords), train=True, mutable=["batch_stats"])[0]

    def step(params, coords, x):
        loss = lambda p: jnp.mean(jnp.square(forward(p, coords, x)))  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)

    def layer_step(x, w, kernel_map):
        y, pullback = jax.vjp(lambda x, w: kernels.sparse_conv(x, w, kernel_map), x, w)
        return y, pullback(y)

    calls = {"all maps": (pyramid_of, coords)}
    kernel_map = pyramid.levels[0].kernel_map
    for channels in (64, 128):
        x, w = jnp.ones((rows, channels)), jnp.ones((27, channels, channels))
        calls[f"3^3 {channels} forward"] = (kernels.sparse_conv, x, w, kernel_map)
        calls[f"3^3 {channels} fwd + bwd"] = (layer_step, x, w, kernel_map)
    calls["Res16UNet34C forward"] = (forward, variables["params"], coords, x3)
    calls["Res16UNet34C step"] = (step, variables["params"], coords, x3)
    return {name: compile_timed(*call)[0] for name, call in calls.items()}


def peer_calls(coords):
    """The same calls in spconv."""
    rows = coords.shape[0]
    network = PeerUNet(3, 20).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def maps():
        x = peer_tensor(coords, torch.ones(rows, 1))
        with torch.no_grad():
            spconv.SubMConv3d(1, 1, 5, bias=False, indice_key="stem")(x)
            for level in range(5):
                spconv.SubMConv3d(1, 1, 3, bias=False, indice_key=f"level{level}")(x)
                if level < 4:
                    x = spconv.SparseConv3d(1, 1, 2, 2, bias=False, indice_key=f"d{level}")(x)
        return ()

    def forward():
        with torch.no_grad():
            return network(peer_tensor(coords, torch.ones(rows, 3))).numpy()

    def step():
        optimizer.zero_grad()
        loss = network(peer_tensor(coords, torch.ones(rows, 3))).square().mean()
        loss.backward()
        optimizer.step()
        return ()

    def layer_calls(channels: int):
        layer = spconv.SubMConv3d(channels, channels, 3, bias=False, indice_key="layer")
        x = torch.ones(rows, channels, requires_grad=True)
        cached = peer_tensor(coords, x.detach())
        with torch.no_grad():
            cached = layer(cached).replace_feature(x)

        def run():
            with torch.no_grad():
                return layer(cached).features.numpy()

        def run_backward():
            y = layer(cached).features
            y.backward(y.detach())
            return ()

        return run, run_backward

    calls = {"all maps": maps}
    for channels in (64, 128):
        calls[f"3^3 {channels} forward"], calls[f"3^3 {channels} fwd + bwd"] = layer_calls(channels)
    return calls | {"Res16UNet34C forward": forward, "Res16UNet34C step": step}


if __name__ == "__main__":
    app.run(main)
