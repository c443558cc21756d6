"""Which tile each matrix product of a sparse convolution runs with.

`tiles.json` holds the tiles that were chosen for particular shapes; `experiments/tune_kernels.py`
writes it. Shapes that it does not hold get the tile of `default_tile`. Nothing is timed while a
network trains: the choice depends on static values only, and is the same in every process.
"""

import json
from functools import cache
from importlib import resources
from typing import Literal, NamedTuple

from fourdc_jax.kernels.kernel_map.maps import ROW_MULTIPLE

Operation = Literal["gemm", "weight_gradient", "narrow_conv", "narrow_weight_gradient"]
OPERATIONS = ("gemm", "weight_gradient", "narrow_conv", "narrow_weight_gradient")
FILE = "tiles.json"

MULTIPROCESSORS = 132  # of a large GPU; fewer programs than a few times this leave some idle


class Tile(NamedTuple):
    """How a kernel divides its work.

    Attributes:
      rows: output rows of a program; or pairs, or rows, that a weight gradient takes in a step.
      channels: contracted channels of a step; input channels of a program of a weight gradient;
        entries (offset, channel) of a step or program of a narrow kernel.
      warps, stages: of the compiled kernel.
      splits: programs that share one sum, each with a part of the offsets, pairs or rows.
      columns: output channels of a program, at most.
    """

    rows: int
    channels: int
    warps: int
    stages: int
    splits: int = 1
    columns: int = 256


class Problem(NamedTuple):
    """What a tile is chosen for.

    Attributes:
      operation: which kernel.
      architecture: compute capability, 80 or 90.
      dtype: name of the features' dtype.
      volume: number of offsets.
      c_in: contracted channels of a GEMM, input channels of a weight gradient.
      c_out: produced channels.
      log2_rows: logarithm of the number of output rows, rounded up.
    """

    operation: Operation
    architecture: int
    dtype: str
    volume: int
    c_in: int
    c_out: int
    log2_rows: int


def choose_tile(problem: Problem) -> Tile:
    """The tuned tile of the nearest number of rows; `default_tile` where nothing was tuned."""
    tuned = _table().get(problem._replace(log2_rows=0), {})
    if not tuned:
        return default_tile(problem)
    return tuned[min(tuned, key=lambda log2_rows: (abs(log2_rows - problem.log2_rows), log2_rows))]


def default_tile(problem: Problem) -> Tile:
    """A tile by rule, from what compiles well and fills a GPU."""
    rows = 1 << problem.log2_rows
    half = problem.dtype != "float32"
    wide = max(problem.c_in, problem.c_out) > 64
    if problem.operation == "gemm":
        return _gemm_tile(problem, rows, half, wide)
    if problem.operation == "weight_gradient":
        stages, columns = _buffers(problem.architecture == 90) if half else (3, 128)
        channels = 128 if half else 64
        channels = min(channels, max(16, 1 << (problem.c_in - 1).bit_length()))
        tiles = -(-problem.c_in // channels) * -(-problem.c_out // columns)
        programs = MULTIPROCESSORS * (2 if wide else 8)
        splits = -(-programs // (problem.volume * tiles))
        warps = 8 if wide else 4
        pairs = 64 if half else 32
        return Tile(pairs, channels, warps, stages, _at_most(splits, rows, 512), columns)
    if problem.operation == "narrow_conv":
        return Tile(64, 64 if half else 32, 4, 3)
    entries = problem.volume * (1 << (problem.c_in - 1).bit_length())
    splits = -(-4 * MULTIPROCESSORS * 64 // entries)
    return Tile(64 if half else 32, 64, 4, 3, _at_most(splits, rows, 256))


def _gemm_tile(problem: Problem, rows: int, half: bool, wide: bool) -> Tile:
    """Rows enough that reading the weights is no bottleneck, and programs enough for the GPU.

    A program reads the weights of every offset of its rows from the second-level cache, whose
    bandwidth limits tiles of few rows; the same rows on Hopper leave room for three buffers.
    """
    chunk = contracted_chunk(problem.c_in, 64 if half else 32)
    hopper = problem.architecture == 90
    if not half:
        block, warps, stages, columns = 64, 8 if problem.c_out > 32 else 4, 3, 128
    elif hopper and wide and rows >= 256 * 2 * MULTIPROCESSORS:
        block, warps, stages, columns = 256, 8, 5, 128
    else:
        block = 128 if rows >= 2048 else 64
        warps = 8 if block == 128 and wide else 4
        stages, columns = _buffers(hopper)
    programs = rows // block * -(-problem.c_out // columns)
    splits = -(-3 * MULTIPROCESSORS // (2 * max(programs, 1))) if problem.c_in >= 64 else 1
    return Tile(block, chunk, warps, stages, min(splits, 9, problem.volume), columns)


def _buffers(hopper: bool) -> tuple[int, int]:
    """Stages and columns with which a tile's copies overlap its products and fit shared memory.

    A loop that loads row numbers, then rows, keeps two tiles from 4 stages on with Hopper's
    matrix instructions, and from 5 on with older ones, whose GPUs may have only 99 KiB for them.
    """
    return (4, 256) if hopper else (5, 128)


def log2_of_rows(rows: int) -> int:
    """The logarithm of a number of rows, rounded up, by which tiles are chosen."""
    return max(rows - 1, 1).bit_length()


def _at_most(splits: int, rows: int, rows_per_split: int) -> int:
    return max(1, min(splits, 64, rows // rows_per_split))


def contracted_chunk(channels: int, largest: int) -> int:
    """Contracted channels of a step: a power of two from 16 to `largest`."""
    power = 1 << (max(channels, 16) - 1).bit_length()
    if channels < power and channels > 16:  # 48 = 32 + 16 and 96 = 64 + 32 are one step with a tail
        power //= 2
    return min(power, largest)


def split_columns(channels: int, largest: int) -> tuple[int, int]:
    """Columns of a program's two accumulators: powers of two of at least 16, the second may be 0.

    96 channels are 64 + 32, where one power of two would compute 128. More columns than `largest`
    go to several programs.
    """
    columns = -(-min(channels, largest) // 16) * 16
    main = 1 << (columns.bit_length() - 1)
    rest = columns - main
    if rest & (rest - 1):
        return 2 * main, 0
    return main, rest


def read_table(text: str) -> dict[Problem, Tile]:
    """The entries of a tile table, one JSON list of problem and tile each.

    Raises:
      ValueError: an entry is none.
    """
    table = {}
    for entry in json.loads(text):
        if (
            entry.keys() != {*Problem._fields, *Tile._fields}
            or entry["operation"] not in OPERATIONS
        ):
            raise ValueError(f"{FILE}: {entry} is no entry of a tile table.")
        problem = Problem(*(entry[name] for name in Problem._fields))
        table[problem] = tile = Tile(*(entry[name] for name in Tile._fields))
        if tile.rows < 16 or ROW_MULTIPLE % tile.rows or min(tile.warps, tile.stages) < 1:
            raise ValueError(f"{FILE}: {entry} has a tile that cannot run.")
    return table


def write_table(table: dict[Problem, Tile]) -> str:
    """The text of a tile table, sorted, one entry a line."""
    lines = [
        json.dumps(problem._asdict() | tile._asdict()) for problem, tile in sorted(table.items())
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def table_text() -> str:
    """The table that is installed with this package."""
    return resources.files("fourdc_jax.kernels.sparse_conv").joinpath(FILE).read_text()


@cache
def _table() -> dict[Problem, dict[int, Tile]]:
    """Problem without its rows -> log2 of the rows -> tile."""
    grouped = {}
    for problem, tile in read_table(table_text()).items():
        grouped.setdefault(problem._replace(log2_rows=0), {})[problem.log2_rows] = tile
    return grouped
