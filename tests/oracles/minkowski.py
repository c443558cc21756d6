"""A Res16UNet as MinkowskiEngine stores and runs it, dense and in float64 NumPy.

Everything follows the published network and the offsets that MinkowskiEngine 0.4 enumerates.
"""

import numpy as np

EPSILON = 1e-5
HYPERCUBE = [(x, y, z) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)]
CHILDREN = [(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)]
HYBRID = [
    tuple("-0+".index(sign) - 1 for sign in offset)
    for offset in (
        *("000", "-00", "+00", "0-0", "0+0", "--0", "-+0", "+-0", "++0"),
        *("00-", "00+", "-0-", "-0+", "+0-", "+0+", "0--", "0-+", "0+-", "0++"),
        *("---", "--+", "-+-", "-++", "+--", "+-+", "++-", "+++"),
    )
]
SKIPS = (2, 1, 0)  # stages whose outputs stages 5, 6 and 7 read, less one


def random_state_dict(rng, *, planes, layers, stem=4, c_in=3, c_out=2, bottleneck=False):
    """Arrays of the shapes and names that `model.state_dict()` has there."""
    arrays = {}
    expansion = 4 if bottleneck else 1

    def kernel(name, *shape):
        fan = np.prod(shape[:-1])
        arrays[f"{name}.kernel"] = (rng.normal(size=shape) / np.sqrt(fan)).astype(np.float32)

    def norm(name, c):
        draws = {
            "weight": rng.normal(size=c),
            "bias": rng.normal(size=c),
            "running_mean": rng.normal(size=c),
            "running_var": rng.uniform(0.5, 2, c),
        }
        arrays.update({f"{name}.bn.{k}": v.astype(np.float32) for k, v in draws.items()})
        arrays[f"{name}.bn.num_batches_tracked"] = np.array(7)

    def stage(number, c):
        width = planes[number - 1]
        for index in range(layers[number - 1]):
            name = f"block{number}.{index}"
            sizes = [(c, width), (27, width, width), (width, 4 * width)]
            for i, shape in enumerate(sizes if bottleneck else [(27, c, width), sizes[1]], 1):
                kernel(f"{name}.conv{i}", *shape)
                norm(f"{name}.norm{i}", shape[-1])
            if c != width * expansion:
                kernel(f"{name}.downsample.0", c, width * expansion)
                norm(f"{name}.downsample.1", width * expansion)
            c = width * expansion
        return c

    kernel("conv0p1s1", 27, c_in, stem)
    norm("bn0", stem)
    c = stem
    for i, tensor_stride in zip((1, 2, 3, 4), (1, 2, 4, 8)):
        kernel(f"conv{i}p{tensor_stride}s2", 8, c, c)
        norm(f"bn{i}", c)
        c = stage(i, c)
    skips = [planes[i] * expansion for i in SKIPS] + [stem]
    for i, tensor_stride, skip in zip((4, 5, 6, 7), (16, 8, 4, 2), skips):
        kernel(f"convtr{i}p{tensor_stride}s2", 8, c, planes[i])
        norm(f"bntr{i}", planes[i])
        c = stage(i + 1, planes[i] + skip)
    kernel("final", c, c_out)
    arrays["final.bias"] = rng.normal(size=(1, c_out)).astype(np.float32)
    return arrays


def run_dense(arrays, coords, features, grid, block_offsets):
    """Outputs [n, c_out] at coords [n, 3] in evaluation mode, blocks of two convolutions."""
    masks = [np.zeros((grid,) * 3, bool)]
    masks[0][tuple(coords.T)] = True
    for _ in range(4):
        half = len(masks[-1]) // 2
        masks.append(masks[-1].reshape(half, 2, half, 2, half, 2).any(axis=(1, 3, 5)))

    def norm(x, name):
        weight, bias, mean, var = (
            np.float64(arrays[f"{name}.bn.{leaf}"])
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        level = next(mask for mask in masks if mask.shape == x.shape[:3])
        return np.where(level[..., None], (x - mean) / np.sqrt(var + EPSILON) * weight + bias, 0)

    def conv(x, name, offsets):
        kernel = np.float64(arrays[f"{name}.kernel"])
        padded = np.pad(x, [(1, 1)] * 3 + [(0, 0)])
        n = len(x)
        moved = [padded[1 + i : 1 + i + n, 1 + j : 1 + j + n, 1 + k : 1 + k + n]
                 for i, j, k in offsets]  # fmt: skip
        return sum(part @ weights for part, weights in zip(moved, kernel, strict=True))

    def down(x, name):
        kernel = np.float64(arrays[f"{name}.kernel"])
        return sum(x[i::2, j::2, k::2] @ w for (i, j, k), w in zip(CHILDREN, kernel, strict=True))

    def up(x, name):
        kernel = np.float64(arrays[f"{name}.kernel"])
        y = np.zeros((*(2 * n for n in x.shape[:3]), kernel.shape[-1]))
        for (i, j, k), weights in zip(CHILDREN, kernel, strict=True):
            y[i::2, j::2, k::2] = x @ weights
        return y

    def stage(x, number):
        index = 0
        while f"block{number}.{index}.conv1.kernel" in arrays:
            name = f"block{number}.{index}"
            y = relu(norm(conv(x, f"{name}.conv1", block_offsets), f"{name}.norm1"))
            y = norm(conv(y, f"{name}.conv2", block_offsets), f"{name}.norm2")
            if f"{name}.downsample.0.kernel" in arrays:
                x = norm(x @ arrays[f"{name}.downsample.0.kernel"], f"{name}.downsample.1")
            x, index = relu(x + y), index + 1
        return x

    x = np.zeros((*masks[0].shape, features.shape[1]))
    x[tuple(coords.T)] = features
    x = relu(norm(conv(x, "conv0p1s1", HYPERCUBE), "bn0"))
    skips = [x]
    for i, tensor_stride in zip((1, 2, 3, 4), (1, 2, 4, 8)):
        x = stage(relu(norm(down(x, f"conv{i}p{tensor_stride}s2"), f"bn{i}")), i)
        skips.append(x)
    for i, tensor_stride in zip((4, 5, 6, 7), (16, 8, 4, 2)):
        x = relu(norm(up(x, f"convtr{i}p{tensor_stride}s2"), f"bntr{i}"))
        x = stage(np.concatenate([x, skips[7 - i]], axis=-1), i + 1)
    return x[tuple(coords.T)] @ arrays["final.kernel"] + arrays["final.bias"]


def relu(x):
    return np.maximum(x, 0)
