"""Single-file scans: every format gives the same points back, and every kind of damage is named."""

import struct
from pathlib import Path

import numpy as np
import plyfile
import pytest
from fixtures.paths import REAL_DATA

from fourdc_jax.data.readers.pcd import decompress_lzf
from fourdc_jax.data.readers.point_files import check_point_file, read_point_file
from fourdc_jax.data.readers.raw_points import ScanOptions

OPTIONS = ScanOptions(align_axes=True, scale=1.0, min_points=10)
REAL = REAL_DATA
NUM_POINTS = 50


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    return {
        "points": rng.uniform(-3, 3, (NUM_POINTS, 3)).astype(np.float32),
        "colors": rng.integers(0, 256, (NUM_POINTS, 3), dtype=np.uint8),
        "labels": rng.integers(0, 41, NUM_POINTS, dtype=np.int32),
        "instances": rng.integers(0, 9, NUM_POINTS, dtype=np.int32),
    }


def write_ply(path, columns, text=False, byte_order="<", faces=(), position="f4", colors="u1"):
    fields = [(axis, position) for axis in "xyz"]
    fields += [(name, colors) for name in ("red", "green", "blue")]
    fields += [("label", "u2"), ("instance", "i4")]
    vertex = np.zeros(len(columns["points"]), fields)
    for axis, values in zip("xyz", columns["points"].T):
        vertex[axis] = values
    for name, values in zip(("red", "green", "blue"), columns["colors"].T):
        vertex[name] = values / 255 if colors == "f4" else values
    vertex["label"], vertex["instance"] = columns["labels"], columns["instances"]
    elements = [plyfile.PlyElement.describe(vertex, "vertex")]
    if faces:
        face = np.zeros(len(faces), [("vertex_indices", object)])
        face["vertex_indices"] = [np.array(f, np.int32) for f in faces]
        types = {"vertex_indices": "i4"}
        elements.append(plyfile.PlyElement.describe(face, "face", val_types=types))
    plyfile.PlyData(elements, text=text, byte_order=byte_order).write(str(path))


def assert_scan_holds(scan, columns, names=("points", "colors", "labels", "instances"), rtol=0):
    np.testing.assert_allclose(scan.points, columns["points"], rtol=rtol)
    assert scan.points.dtype == np.float32
    for name in names[1:]:
        values = getattr(scan, name)
        np.testing.assert_array_equal(values, columns[name], err_msg=name)
        assert values.dtype == (np.uint8 if name == "colors" else np.int32)


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"text": True},
        {"byte_order": ">"},
        {"position": "f8"},
        {"colors": "f4"},
        {"faces": [(0, 1, 2), (3, 4, 5)]},
        {"faces": [(0, 1, 2), (3, 4, 5, 6)]},
        {"faces": [(0, 1, 2), (3, 4, 5)], "byte_order": ">"},
    ],
)
def test_ply_of_every_encoding(tmp_path, columns, variant):
    path = tmp_path / "scan.ply"
    write_ply(path, columns, **variant)
    check_point_file(path, 10)
    scan = read_point_file(path, OPTIONS)
    assert scan.name == "scan"
    assert scan.label_set == "file"
    assert_scan_holds(scan, columns, rtol=1e-6)


def test_a_wrong_count_of_faces_is_found_at_once(tmp_path, columns):
    path = tmp_path / "scan.ply"
    write_ply(path, columns, faces=[(0, 1, 2)])
    path.write_bytes(path.read_bytes().replace(b"element face 1", b"element face 1000000000"))
    with pytest.raises(ValueError, match=r"scan\.ply.*end-of-file"):
        check_point_file(path, 10)


def test_npz_with_own_and_common_names(tmp_path, columns):
    boxes = np.array([[0, 0, 1, 1, 2, 3, 5]], np.float64)
    np.savez(tmp_path / "a.npz", **columns, boxes=boxes)
    np.savez(
        tmp_path / "b.npz",
        coord=columns["points"].astype(np.float64),
        color=columns["colors"].astype(np.float32),
        segment=columns["labels"][:, None],
        instance=columns["instances"].astype(np.float64),
    )
    first, second = (read_point_file(tmp_path / name, OPTIONS) for name in ("a.npz", "b.npz"))
    assert_scan_holds(first, columns)
    assert_scan_holds(second, columns)
    np.testing.assert_array_equal(first.boxes, boxes)
    assert second.boxes is None


@pytest.mark.parametrize("suffix", [".npy", ".txt", ".xyz"])
@pytest.mark.parametrize("width", [3, 6, 7])
def test_rows_of_numbers(tmp_path, columns, suffix, width):
    rows = np.concatenate(
        [columns["points"], columns["colors"], columns["labels"][:, None]], axis=1
    )[:, :width]
    path = tmp_path / f"scan{suffix}"
    if suffix == ".npy":
        np.save(path, rows)
    else:
        np.savetxt(path, rows, header="a comment", fmt="%.9g", delimiter="," if width == 6 else " ")
    check_point_file(path, 10)
    scan = read_point_file(path, OPTIONS)
    names = ("points", "colors", "labels")[: {3: 1, 6: 2, 7: 3}[width]]
    assert_scan_holds(scan, columns, names, rtol=1e-6)
    assert (scan.colors is None) == (width == 3)


def compress_lzf(data: bytes) -> bytes:
    """A plain LZF compressor: the longest earlier match of the last 8192 bytes, else a literal."""
    out, literals, i = bytearray(), bytearray(), 0

    def flush():
        while literals:
            out.append(len(literals[:32]) - 1)
            out.extend(literals[:32])
            del literals[:32]

    while i < len(data):
        start = data.rfind(data[i : i + 3], max(0, i - 8000), i + 2) if i + 3 <= len(data) else -1
        if start < 0 or start >= i:
            literals.append(data[i])
            i += 1
            continue
        length = 3
        while length < 264 and i + length < len(data) and data[start + length] == data[i + length]:
            length += 1
        flush()
        offset, run = i - start - 1, length - 2
        if run < 7:
            out.append(run << 5 | offset >> 8)
        else:
            out.extend((7 << 5 | offset >> 8, run - 7))
        out.append(offset & 255)
        i += length
    flush()
    return bytes(out)


@pytest.mark.parametrize(
    "data", [b"", b"abc", b"a" * 1000, b"abcabcabcabcabcabcabcabcabcd", bytes(range(256)) * 9]
)
def test_lzf_inverts_a_compressor(data):
    packed = compress_lzf(data)
    assert decompress_lzf(packed, len(data)) == data
    if len(data) > 100:
        assert len(packed) < len(data) / 4  # back references, short, long and overlapping, occurred


def write_pcd(path, columns, encoding, rgb_type="F"):
    colors = columns["colors"].astype(np.uint32)
    packed = (colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2]).astype("<u4")
    rgb = packed.view("<f4") if rgb_type == "F" else packed
    dtype = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("_", "<u1", (4,)), ("rgb", rgb.dtype)]
    table = np.zeros(len(colors), [*dtype, ("label", "<u4")])
    for axis, values in zip("xyz", columns["points"].T):
        table[axis] = values
    table["rgb"], table["label"] = rgb, columns["labels"]
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z _ rgb label\nSIZE 4 4 4 1 4 4\n"
        f"TYPE F F F U {rgb_type} U\nCOUNT 1 1 1 4 1 1\nWIDTH {len(table)}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(table)}\nDATA {encoding}\n"
    ).encode()
    if encoding == "ascii":
        as_text = (lambda value: repr(float(value))) if rgb_type == "F" else str
        lines = [
            " ".join(
                (
                    *(repr(float(row[axis])) for axis in "xyz"),
                    *("0 0 0 0", as_text(row["rgb"]), str(row["label"])),
                )
            )
            for row in table
        ]
        body = "\n".join(lines).encode()
    elif encoding == "binary":
        body = table.tobytes()
    else:
        plain = b"".join(np.ascontiguousarray(table[name]).tobytes() for name in table.dtype.names)
        packed_body = compress_lzf(plain)
        body = struct.pack("<II", len(packed_body), len(plain)) + packed_body
    path.write_bytes(header + body)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("rgb_type", ["F", "U"])
def test_pcd_of_every_encoding(tmp_path, columns, encoding, rgb_type):
    path = tmp_path / "scan.pcd"
    write_pcd(path, columns, encoding, rgb_type)
    check_point_file(path, 10)
    assert_scan_holds(read_point_file(path, OPTIONS), columns, ("points", "colors", "labels"))


def test_pcd_drops_pixels_without_depth(tmp_path, columns):
    missing = np.arange(0, NUM_POINTS, 7)
    holed = {**columns, "points": columns["points"].copy()}
    holed["points"][missing] = np.nan
    write_pcd(tmp_path / "scan.pcd", holed, "binary")
    scan = read_point_file(tmp_path / "scan.pcd", OPTIONS)
    kept = {name: np.delete(values, missing, axis=0) for name, values in columns.items()}
    assert_scan_holds(scan, kept, ("points", "colors", "labels"))


@pytest.mark.parametrize("name", ["a.ply", "a.npz", "a.npy", "a.pcd", "a.txt"])
@pytest.mark.parametrize("damage", ["empty", "wrong", "cut"])
def test_damaged_files_are_named(tmp_path, columns, name, damage):
    path = tmp_path / name
    if name == "a.ply":
        write_ply(path, columns, faces=[(0, 1, 2)] * 3)
    elif name == "a.npz":
        np.savez(path, **columns)
    elif name == "a.pcd":
        write_pcd(path, columns, "binary")
    elif name == "a.npy":
        np.save(path, columns["points"])
    else:
        np.savetxt(path, columns["points"])
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "wrong": b"<html>404 Not Found</html>\n" * 40, "cut": whole[:-7]}[damage]
        if (name, damage) != ("a.txt", "cut")
        else whole[:-30]
    )
    with pytest.raises(ValueError, match=name):
        read_point_file(path, OPTIONS)
    if (name, damage) != ("a.txt", "cut"):  # the end of a text file is seen only by reading it
        with pytest.raises(ValueError, match=name):
            check_point_file(path, 10)


@pytest.mark.parametrize("name", ["a.ply", "a.npz", "a.npy", "a.pcd", "a.txt"])
def test_too_few_points_are_found_without_reading_them(tmp_path, columns, name):
    path = tmp_path / name
    few = {key: values[:9] for key, values in columns.items()}
    match name:
        case "a.ply":
            write_ply(path, few)
        case "a.npz":
            np.savez_compressed(path, **few)
        case "a.pcd":
            write_pcd(path, few, "binary")
        case "a.npy":
            np.save(path, few["points"])
        case _:
            np.savetxt(path, few["points"])
    with pytest.raises(ValueError, match="9 points, fewer than the minimum of 10"):
        check_point_file(path, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["points"].__setitem__((3, 1), np.nan), "1 of 50 points .* first is point 3"),
        (lambda c: c["points"].__setitem__((4, 0), np.inf), "not finite"),
        (lambda c: c["points"].__imul__(1000), "set scale"),
        (lambda c: c["points"].__imul__(0.01), "set scale"),
        (lambda c: c.update(points=c["points"][:9]), "9 points, fewer than the minimum of 10"),
        (lambda c: c.update(points=c["points"][:, :2]), r"\[n, 3\], got \[50, 2\]"),
        (lambda c: c.update(colors=c["colors"][1:]), "colours"),
        (lambda c: c.update(labels=c["labels"][1:]), "49 labels for 50 points"),
        (lambda c: c.update(labels=c["labels"] + 0.5), "whole numbers"),
        (lambda c: c.update(labels=np.full(50, np.nan)), "whole numbers"),
        (lambda c: c.update(points=np.full((50, 3), 1e300)), "not finite"),
        (lambda c: c.pop("points"), "no points"),
    ],
)
def test_implausible_content_is_refused(tmp_path, columns, change, message):
    change(columns)
    np.savez(tmp_path / "scan.npz", **columns)
    with pytest.raises(ValueError, match=rf"scan\.npz.*{message}"):
        read_point_file(tmp_path / "scan.npz", OPTIONS)


def test_scale_gives_metres_to_points_and_boxes(tmp_path, columns):
    boxes = np.array([[100, 200, 300, 400, 500, 600, 7]], np.float64)
    np.savez(tmp_path / "mm.npz", points=columns["points"] * 1000, boxes=boxes)
    scan = read_point_file(tmp_path / "mm.npz", ScanOptions(True, 0.001, 10))
    np.testing.assert_allclose(scan.points, columns["points"], rtol=1e-6)
    np.testing.assert_allclose(scan.boxes, [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 7]], rtol=1e-6)


def test_georeferenced_scan_keeps_its_precision(tmp_path, columns):
    far = columns["points"].astype(np.float64) + np.array([691e3, 5336e3, 500])
    np.save(tmp_path / "far.npy", far)
    scan = read_point_file(tmp_path / "far.npy", OPTIONS)
    assert np.abs(scan.points).max() < 10
    np.testing.assert_allclose(np.diff(scan.points, axis=0), np.diff(far, axis=0), atol=2e-6)


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ply"):
        read_point_file(Path("nowhere.ply"), OPTIONS)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real data beside the repository")
@pytest.mark.parametrize(
    ("file", "num_points", "extent", "labels"),
    [
        ("scenes/labelcloud_exemplary/exemplary.ply", 86357, (3.0, 2.37, 0.965), None),
        (
            "scenes/s3dis_Area_4_hallway_5/Area4_hallway5.ply",
            85855,
            (1.06, 2.01, 2.34),
            [0, 1, 2, 12],
        ),
        ("sunrgbd/sunrgbd_trainval/lidar/000001.npy", 50000, (5.61, 7.09, 3.89), None),
        ("sunrgbd/sunrgbd_trainval/lidar/000002.npy", 50000, (6.33, 6.29, 4.23), None),
        ("sunrgbd/votenet_eval/000004_pc.ply", 20000, (4.79, 6.79, 3.98), None),
    ],
)
def test_real_point_files(file, num_points, extent, labels):
    path = REAL / file
    check_point_file(path, 10)
    scan = read_point_file(path, OPTIONS)
    assert len(scan.points) == num_points
    np.testing.assert_allclose(np.ptp(scan.points, axis=0), extent, atol=0.006)
    if labels is None:
        assert scan.labels is None
    else:
        np.testing.assert_array_equal(np.unique(scan.labels), labels)
    if scan.colors is not None:
        assert scan.colors.max() > 100  # not 0..1 taken for bytes
