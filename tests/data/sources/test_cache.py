"""The cache: bit-equal round trip, loud damage, filters of cached shapes."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from fourdc_jax.data.readers.shapes import ShapeOptions
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.shape import Shape
from fourdc_jax.data.sources import cache
from fourdc_jax.data.sources.cache import Record
from fourdc_jax.data.sources.source import open_scans, open_shapes

RECORD = Record("a", "kind", "", "", 20, ("a.ply",), 100, "0" * 64, "{}")


def make_scan(name, seed=0, **changes):
    rng = np.random.default_rng(seed)
    columns = {
        "points": rng.normal(size=(20, 3)).astype(np.float32),
        "colors": rng.integers(0, 256, (20, 3), dtype=np.uint8),
        "labels": rng.integers(0, 41, 20, dtype=np.int32),
        "instances": rng.integers(0, 300, 20, dtype=np.int32),
        "boxes": rng.normal(size=(3, 7)).astype(np.float32),
        "label_set": "s3dis",
    }
    return Scan(name, **{**columns, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"colors": None, "boxes": None},
        {"labels": None, "instances": None},
        {"labels": np.full(20, -1, np.int32)},
        {"labels": np.arange(20, dtype=np.int32) * 100_000},
        {"boxes": np.zeros((0, 7), np.float32)},
    ],
)
def test_scans_come_back_bit_for_bit(tmp_path, changes):
    scan = make_scan("a", **changes)
    path = cache.item_path(tmp_path, "a")
    cache.write_item(path, scan, RECORD)
    back = cache.read_scan(path)
    assert (back.name, back.label_set) == ("a", "s3dis")
    for column in ("points", "colors", "labels", "instances", "boxes"):
        before, after = getattr(scan, column), getattr(back, column)
        assert (before is None) == (after is None)
        if before is not None:
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(before, after)
    assert cache.read_record(path) == RECORD


def test_records_of_earlier_caches_name_no_generator(tmp_path, monkeypatch):
    path = cache.item_path(tmp_path, "a")
    fields = {name: value for name, value in asdict(RECORD).items() if name != "generator"}
    monkeypatch.setattr(cache, "asdict", lambda record: fields)
    cache.write_item(path, make_scan("a"), RECORD)
    assert cache.read_record(path) == RECORD


def test_labels_take_one_byte(tmp_path):
    cache.write_item(cache.item_path(tmp_path, "a"), make_scan("a"), RECORD)
    with np.load(cache.item_path(tmp_path, "a")) as arrays:
        assert arrays["labels"].dtype == np.uint8
        assert arrays["instances"].dtype == np.int16


def write_cache(root, items, holds="scans", options=None, complete=True, **extra):
    rows = []
    for item in items:
        path = cache.item_path(root, item.name)
        cache.write_item(path, item, RECORD)
        row = {"name": item.name, "kind": "k", "category": "", "split": ""}
        if isinstance(item, Shape):
            row |= {"category": item.category, "split": "train"}
        rows.append({**row, "bytes": path.stat().st_size})
    manifest = {"holds": holds, "complete": complete, "options": options or {}, "items": rows}
    cache.write_manifest(root, {**manifest, **extra})


def test_a_cache_opens_as_scans(tmp_path):
    scans = [make_scan(name, seed) for seed, name in enumerate(["b", "area/a"])]
    write_cache(tmp_path, scans)
    source = open_scans(str(tmp_path))
    assert source.names == ["b", "area/a"]
    assert source[1].name == "area/a"
    np.testing.assert_array_equal(source[1].points, scans[1].points)
    (tmp_path / "split.txt").write_text("area/a\n")
    assert open_scans(str(tmp_path), split_file=str(tmp_path / "split.txt")).names == ["area/a"]


def test_damage_to_a_cache_is_named(tmp_path):
    write_cache(tmp_path, [make_scan("a"), make_scan("b"), make_scan("c")])
    cache.item_path(tmp_path, "a").unlink()
    with cache.item_path(tmp_path, "b").open("ab") as file:
        file.write(b"!")
    source = open_scans(str(tmp_path))
    assert source.names == ["c"]
    assert "missing from the cache" in source.failures["a"]
    assert "the manifest says" in source.failures["b"]
    path = cache.item_path(tmp_path, "c")
    data = bytearray(path.read_bytes())
    data[200] ^= 255  # one changed byte of the points: the archive's checksum finds it
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"c\.npz.*CRC"):
        open_scans(str(tmp_path))[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"complete": False}, "not finished"),
        ({"holds": "shapes"}, "cache of shapes, not of scans"),
        ({"format": "fourdc-jax cache 0"}, "its format is"),
    ],
)
def test_caches_that_cannot_be_used(tmp_path, change, message):
    write_cache(tmp_path, [make_scan("a")])
    manifest = json.loads((tmp_path / cache.MANIFEST).read_text())
    (tmp_path / cache.MANIFEST).write_text(json.dumps({**manifest, **change}, indent=1))
    with pytest.raises(ValueError, match=message):
        open_scans(str(tmp_path))


def test_cached_shapes_by_category_split_and_number(tmp_path):
    rng = np.random.default_rng(0)
    shapes = [
        Shape(f"{category}_0001", category, rng.normal(size=(50, 3)).astype(np.float32))
        for category in ("chair", "night_stand")
    ]
    write_cache(tmp_path, shapes, holds="shapes", options={"num_points": 50})
    source = open_shapes(str(tmp_path), num_points=30, categories=("nightstand",), split="train")
    assert source.names == ["night_stand_0001"]
    assert source[0].category == "night_stand"
    np.testing.assert_array_equal(source[0].points, shapes[1].points[:30])
    with pytest.raises(ValueError, match="holds 50 points a shape, 51 are asked for"):
        open_shapes(str(tmp_path), num_points=51)
    with pytest.raises(ValueError, match="there are"):
        open_shapes(str(tmp_path), num_points=5, split="test")
    with pytest.raises(ValueError, match="cache of shapes"):
        open_scans(str(tmp_path))
    options = ShapeOptions(5, 1, ("sofa",), "", "auto", 0)
    with pytest.raises(ValueError, match="sofa"):
        cache.find_entries(tmp_path, "shapes", options)
