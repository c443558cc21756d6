"""Point Cloud Library files (.pcd): ascii, binary and binary_compressed.

Format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fourdc_jax.data.readers.raw_points import RawPoints, reading

HEADER_LIMIT = 4096  # bytes; a header has eleven short lines


class Header(NamedTuple):
    """The parsed header: one structured dtype a point, and where the data begins."""

    dtype: np.dtype
    num_points: int
    encoding: str
    data_start: int


def read_pcd(path: Path) -> RawPoints:
    """Points, colours and labels of a .pcd file.

    Points with a NaN coordinate are dropped: in this format they mark pixels without depth.
    """
    with reading(path, "PCD file"):
        data = path.read_bytes()
        header = parse_header(data)
        body = data[header.data_start :]
        if header.encoding == "ascii":
            table = _read_ascii(body, header)
        elif header.encoding == "binary":
            table = np.frombuffer(body, header.dtype, count=header.num_points)
        else:
            table = _read_compressed(body, header)
        points = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)
        valid = ~np.isnan(points).any(axis=1)
        columns = {
            name: table[name][valid].astype(np.int64)
            for name in ("label", "instance")
            if name in table.dtype.names
        }
        colors = _unpack_colors(table[valid])
        return RawPoints(points[valid], colors, columns.get("label"), columns.get("instance"))


def check_pcd(path: Path) -> int:
    """Check the header and, for binary data, the size; returns the number of points."""
    with reading(path, "PCD file"):
        with path.open("rb") as file:
            header = parse_header(file.read(HEADER_LIMIT))
        needed = header.data_start + header.num_points * header.dtype.itemsize
        if header.encoding == "binary" and path.stat().st_size < needed:
            raise ValueError(f"has {path.stat().st_size} bytes, its header asks for {needed}")
        return header.num_points


def parse_header(data: bytes) -> Header:
    """Parse the lines up to and including DATA."""
    values: dict[str, list[str]] = {}
    position = 0
    while "DATA" not in values:
        end = data.find(b"\n", position, HEADER_LIMIT)
        if end < 0:
            raise ValueError("its header has no DATA line")
        words = data[position:end].decode("ascii").split()
        if words and not words[0].startswith("#"):
            values[words[0]] = words[1:]
        position = end + 1
    fields = values["FIELDS"]
    counts = [int(count) for count in values.get("COUNT", ["1"] * len(fields))]
    kinds = {"F": "f", "I": "i", "U": "u"}
    formats = [f"<{kinds[kind]}{size}" for kind, size in zip(values["TYPE"], values["SIZE"])]
    if not {"x", "y", "z"} <= set(fields):
        raise ValueError(f"its fields are {fields}: x, y, z are needed")
    if not len(fields) == len(formats) == len(counts):
        raise ValueError("FIELDS, SIZE, TYPE and COUNT differ in length")
    # Padding fields are all called "_": every field gets a name of its own.
    names = [f"_{i}" if name == "_" else name for i, name in enumerate(fields)]
    dtype = np.dtype([(n, f, (c,)) if c > 1 else (n, f) for n, f, c in zip(names, formats, counts)])
    encoding = values["DATA"][0]
    if encoding not in ("ascii", "binary", "binary_compressed"):
        raise ValueError(f"unknown DATA encoding {encoding!r}")
    size = int(values["WIDTH"][0]) * int(values["HEIGHT"][0])
    return Header(dtype, int(values.get("POINTS", [size])[0]), encoding, position)


def _read_ascii(body: bytes, header: Header) -> np.ndarray:
    lines = body.decode("ascii").splitlines()
    rows = np.array([line.split() for line in lines if line.strip()])  # [n, columns] of strings
    if len(rows) != header.num_points:
        raise ValueError(f"has {len(rows)} points, its header says {header.num_points}")
    table = np.zeros(len(rows), header.dtype)
    column = 0
    for name in header.dtype.names:
        base, shape = header.dtype[name].base, header.dtype[name].shape
        width = int(np.prod(shape, dtype=int))
        values = rows[:, column : column + width]
        # Integers pass through int64, not float64: packed colours need all their bits.
        whole = base.kind in "iu"
        table[name] = values.astype(np.int64 if whole else base).reshape(len(rows), *shape)
        column += width
    return table


def _read_compressed(body: bytes, header: Header) -> np.ndarray:
    """LZF-compressed data, stored field by field rather than point by point."""
    compressed_size, size = np.frombuffer(body, "<u4", count=2).tolist()
    if len(body) < 8 + compressed_size:
        raise ValueError(f"has {len(body) - 8} of {compressed_size} compressed bytes")
    if size != header.num_points * header.dtype.itemsize:
        raise ValueError(f"unpacks to {size} bytes, its header asks for another size")
    data = decompress_lzf(body[8 : 8 + compressed_size], size)
    table = np.zeros(header.num_points, header.dtype)
    position = 0
    for name in header.dtype.names:
        field = header.dtype[name]
        end = position + header.num_points * field.itemsize
        values = np.frombuffer(data[position:end], field.base)
        table[name] = values.reshape(header.num_points, *field.shape)
        position = end
    return table


def decompress_lzf(data: bytes, size: int) -> bytes:
    """LibLZF: runs of literals, and copies of what was already written."""
    out = bytearray()
    i = 0
    while i < len(data):
        control = data[i]
        i += 1
        if control < 32:  # a run of control + 1 literal bytes
            out += data[i : i + control + 1]
            i += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[i]
            i += 1
        length += 2
        start = len(out) - ((control & 31) << 8) - data[i] - 1
        i += 1
        if start < 0:
            raise ValueError("its compressed data points before its start")
        chunk = out[start : start + length]
        repeats = -(-length // len(chunk))  # more than one where the copy overlaps itself
        out += (chunk * repeats)[:length]
    if len(out) != size:
        raise ValueError(f"unpacks to {len(out)} bytes instead of {size}")
    return bytes(out)


def _unpack_colors(table: np.ndarray) -> np.ndarray | None:
    """The packed `rgb` or `rgba` field, whether its 32 bits are declared float or integer."""
    name = next((name for name in ("rgb", "rgba") if name in table.dtype.names), None)
    if name is None:
        return None
    packed = np.ascontiguousarray(table[name]).view(np.uint32)
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], 1).astype(np.uint8)
