"""The peers that a benchmark can run beside this engine: spconv, and spconv-triton, its drop-in.

Both have one interface. Maps are cached by `indice_key`, as their users do. Networks have float32
parameters, and on a GPU automatic mixed precision.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmarks.timing import Program
from benchmarks.workloads import IN_CHANNELS, LEARNING_RATE, MOMENTUM, OUT_CHANNELS

from fourdc_jax.models.architectures import find_architecture

STEM_CHANNELS = 32
COARSEST = 16  # tensor stride
NAMES = ("spconv", "spconv-triton")


class Peer(NamedTuple):
    """An engine on a device.

    Attributes:
      name: for printing.
      engine: its module, with spconv.pytorch's interface.
      device: "cpu" or "cuda".
      dtype: of features and products.
    """

    name: str
    engine: Any
    device: str
    dtype: torch.dtype


def find_peers(device: str) -> dict[str, Any]:
    """Name -> module of each engine that is installed for the device; others are named."""
    found = {}
    for name in NAMES if device == "cuda" else ("spconv",):
        try:
            found[name] = _import(name)
        except (ImportError, OSError, RuntimeError) as error:  # missing, or for another CUDA
            print(f"{name} is not installed here: {error}")
    if device == "cpu" and "spconv" in found:  # its backward pass asks for a CUDA stream
        found["spconv"].ops.get_current_stream = lambda: 0
    return found


def _import(name: str) -> Any:
    if name == "spconv":
        import spconv.pytorch as engine
    else:
        import spconv_triton.pytorch as engine
    return engine


def sparse_tensor(peer: Peer, coords: np.ndarray, features: torch.Tensor) -> Any:
    """A peer's tensor of these coordinates (batch first, then x, y, z and t).

    Its grid is a multiple of the U-Net's coarsest stride: the peers drop what does not fill a cell.
    """
    cells = np.array(coords)
    cells[:, 1:] -= cells[:, 1:].min(0) // COARSEST * COARSEST  # the levels stay ours
    shape = [(int(last) // COARSEST + 1) * COARSEST for last in cells[:, 1:].max(0)]
    indices = torch.from_numpy(cells).to(peer.device)
    return peer.engine.SparseConvTensor(features, indices, shape, int(cells[:, 0].max()) + 1)


def submanifold_layer(peer: Peer, weights: np.ndarray, dimension: int) -> torch.nn.Module:
    """A layer of kernel size 3 with our weights [k, c_in, c_out], x fastest."""
    _, c_in, c_out = weights.shape
    make = getattr(peer.engine, f"SubMConv{dimension}d")
    layer = make(c_in, c_out, 3, bias=False, indice_key=f"level0_{dimension}d")
    # The peers' kernel is [out, x, y, z, in] with the last axis fastest.
    cube = weights.reshape(*[3] * dimension, c_in, c_out)
    cube = cube.transpose(dimension + 1, *reversed(range(dimension)), dimension)
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(cube))
    return layer.to(peer.device, peer.dtype)


def layer_programs(
    peer: Peer, coords: np.ndarray, c_in: int, c_out: int, num_sets: int
) -> dict[str, Program]:
    """A layer with its map cached: forward, and forward with both gradients."""
    dimension, rows = coords.shape[1] - 1, len(coords)
    weights = np.random.default_rng(0).normal(size=(3**dimension, c_in, c_out))
    layer = submanifold_layer(peer, weights.astype(np.float32), dimension)
    like = {"device": peer.device, "dtype": peer.dtype}
    inputs = [torch.randn(rows, c_in, **like) for _ in range(num_sets)]
    grads = [torch.randn(rows, c_out, **like) for _ in range(num_sets)]
    with torch.no_grad():
        cached = layer(sparse_tensor(peer, coords, inputs[0]))  # holds the map

    def forward(x, _):
        with torch.no_grad():
            return layer(cached.replace_feature(x)).features

    def with_gradients(x, grad):
        x = x.detach().requires_grad_()
        layer.weight.grad = None
        layer(cached.replace_feature(x)).features.backward(grad)
        return x.grad

    sets = list(zip(inputs, grads))
    return {"forward": program(forward, sets), "fwd + bwd": program(with_gradients, sets)}


def network_programs(peer: Peer, name: str, coords: np.ndarray) -> dict[str, Program]:
    """All maps of a U-Net; its forward pass and its training step, with the maps built anew."""
    network = make_unet(peer.engine, name).train().to(peer.device)
    options = {"lr": LEARNING_RATE, "momentum": MOMENTUM}
    optimizer = torch.optim.SGD(network.parameters(), **options)
    x = torch.randn(len(coords), IN_CHANNELS, device=peer.device)
    start = sparse_tensor(peer, coords, x)
    mixed = torch.autocast("cuda", peer.dtype) if peer.device == "cuda" else nullcontext()
    maps_of = make_maps(peer.engine).to(peer.device)

    def fresh(features):
        return peer.engine.SparseConvTensor(
            features, start.indices, start.spatial_shape, start.batch_size
        )

    def maps():
        with torch.no_grad():
            return maps_of(fresh(x[:, :1].contiguous()))

    def forward():
        with torch.no_grad(), mixed:
            return network(fresh(x))

    def step():
        optimizer.zero_grad()
        with mixed:
            loss = network(fresh(x)).float().square().mean()
        loss.backward()
        optimizer.step()
        return loss

    calls = {"all maps": maps, f"{name} forward": forward, f"{name} step": step}
    return {key: program(call, [()]) for key, call in calls.items()}


def program(function: Callable[..., Any], argument_sets: Sequence[tuple]) -> Program:
    """A PyTorch call for `timing`, on one set of arguments after another."""

    def run(repeats: int) -> None:
        for _ in range(repeats):
            for arguments in argument_sets:
                function(*arguments)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return Program(run, len(argument_sets), 0.0, 0.0, "")


def make_maps(spconv: Any) -> torch.nn.Module:
    """Layers of one channel that build the maps of a U-Net with a 5^3 stem."""

    class Maps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            keys = [f"level{level}" for level in range(5)]
            self.stem = spconv.SubMConv3d(1, 1, 5, bias=False, indice_key="stem")
            self.levels = torch.nn.ModuleList(
                spconv.SubMConv3d(1, 1, 3, bias=False, indice_key=key) for key in keys
            )
            self.down = torch.nn.ModuleList(
                spconv.SparseConv3d(1, 1, 2, 2, bias=False, indice_key=f"down_{key}")
                for key in keys[:4]
            )

        def forward(self, x):
            self.stem(x)
            for level, layer in enumerate(self.levels):
                layer(x)
                x = self.down[level](x) if level < 4 else x
            return x

    return Maps()


def make_unet(spconv: Any, name: str) -> torch.nn.Module:
    """The residual U-Net of this name, of basic blocks, 3D, with a 5^3 stem."""
    block, planes, layers = find_architecture(name)
    if block != "basic":
        raise ValueError(f"{name} has {block} blocks; only basic ones are built here.")
    norm = torch.nn.BatchNorm1d

    class Block(spconv.SparseModule):
        def __init__(self, c_in: int, c_out: int, key: str):
            super().__init__()
            options = {"bias": False, "indice_key": key}
            self.conv1 = spconv.SubMConv3d(c_in, c_out, 3, **options)
            self.conv2 = spconv.SubMConv3d(c_out, c_out, 3, **options)
            self.norm1, self.norm2 = norm(c_out), norm(c_out)
            self.shortcut = None
            if c_in != c_out:
                linear = torch.nn.Linear(c_in, c_out, bias=False)
                self.shortcut = torch.nn.Sequential(linear, norm(c_out))

        def forward(self, x):
            y = self.conv1(x)
            y = y.replace_feature(torch.relu(self.norm1(y.features)))
            y = self.conv2(y)
            identity = x.features if self.shortcut is None else self.shortcut(x.features)
            return y.replace_feature(torch.relu(self.norm2(y.features) + identity))

    def stage(c_in: int, number: int, key: str):
        widths = [c_in] + [planes[number]] * layers[number]
        return torch.nn.Sequential(*(Block(width, planes[number], key) for width in widths[:-1]))

    class UNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            width, skips = STEM_CHANNELS, [STEM_CHANNELS]
            self.stem = spconv.SubMConv3d(IN_CHANNELS, width, 5, bias=False, indice_key="stem")
            self.stem_norm = norm(width)
            self.down, self.down_norm, self.up, self.up_norm, self.stages = (
                torch.nn.ModuleList() for _ in range(5)
            )
            for level in range(4):
                self.down.append(
                    spconv.SparseConv3d(width, width, 2, 2, bias=False, indice_key=f"down{level}")
                )
                self.down_norm.append(norm(width))
                self.stages.append(stage(width, level, f"level{level + 1}"))
                width = planes[level]
                skips.append(width)
            skips.pop()
            for level in (3, 2, 1, 0):
                number = 7 - level
                self.up.append(
                    spconv.SparseInverseConv3d(
                        width, planes[number], 2, indice_key=f"down{level}", bias=False
                    )
                )
                self.up_norm.append(norm(planes[number]))
                self.stages.append(stage(planes[number] + skips.pop(), number, f"level{level}"))
                width = planes[number]
            self.final = torch.nn.Linear(width, OUT_CHANNELS)

        def forward(self, x):
            def activate(x, norm):
                return x.replace_feature(torch.relu(norm(x.features)))

            x = activate(self.stem(x), self.stem_norm)
            skips = []
            for level in range(4):
                skips.append(x)
                x = activate(self.down[level](x), self.down_norm[level])
                x = self.stages[level](x)
            for step in range(4):
                x = activate(self.up[step](x), self.up_norm[step])
                x = x.replace_feature(torch.cat([x.features, skips.pop().features], 1))
                x = self.stages[4 + step](x)
            return self.final(x.features)

    return UNet()
