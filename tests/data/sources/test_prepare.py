"""Preparation of a cache: resumable, past damaged files, equal for any number of processes."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fixtures.commands import run_here
from fixtures.paths import REAL_DATA as REAL

from fourdc_jax.data.procedural import rooms
from fourdc_jax.data.readers.entry import Entry
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sources import cache, prepare
from fourdc_jax.data.sources.source import Source, open_scans, open_shapes

OPTIONS = {"scale": 1.0}


def save_scan(path, seed=0):
    np.save(path, np.random.default_rng(seed).uniform(0, 4, (1500, 3)).astype(np.float32))


@pytest.fixture
def raw(tmp_path):
    """Three good scans, one empty, and one with a NaN that only reading finds."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        save_scan(folder / f"{name}.npy", seed)
    (folder / "empty.npy").touch()
    np.save(folder / "nan.npy", np.full((1500, 3), np.nan))
    return folder


def run(raw, root, workers=0, options=OPTIONS, **extra):
    source = open_scans(str(raw))
    return prepare.prepare(
        source, root, holds="scans", options=options, origin={}, workers=workers, **extra
    )


def test_damaged_files_are_listed_and_the_rest_is_converted(raw, tmp_path):
    manifest = run(raw, tmp_path / "out")
    assert [item["name"] for item in manifest["items"]] == ["a", "b", "c"]
    assert manifest["num_points"] == 4500
    failures = {failure["name"]: failure["error"] for failure in manifest["failures"]}
    assert failures.keys() == {"empty", "nan"}
    assert "empty.npy is empty" in failures["empty"]
    assert "nan.npy: 1500 of 1500 points" in failures["nan"]
    on_disk = cache.read_manifest(tmp_path / "out")
    assert on_disk["complete"]
    assert (on_disk["num_items"], on_disk["num_failures"]) == (3, 2)
    assert all(len(item["sha256"]) == len(item["source_sha256"]) == 64 for item in on_disk["items"])
    source = open_scans(str(tmp_path / "out"))
    for name, scan in zip(source.names, source):
        np.testing.assert_array_equal(scan.points, np.load(raw / f"{name}.npy"))


def test_processes_change_nothing(raw, tmp_path):
    run(raw, tmp_path / "one")
    run(raw, tmp_path / "two", workers=2)
    for file in ("manifest.json", "items/a.npz", "items/b.npz", "items/c.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_only_what_changed_is_converted_again(raw, tmp_path):
    root = tmp_path / "out"
    assert run(raw, root)["num_skipped"] == 0
    first = (root / "manifest.json").read_bytes()
    assert run(raw, root)["num_skipped"] == 3
    assert (root / "manifest.json").read_bytes() == first
    save_scan(raw / "b.npy", 99)  # same size, other content
    assert run(raw, root)["num_skipped"] == 2
    np.testing.assert_array_equal(open_scans(str(root))[1].points, np.load(raw / "b.npy"))
    item = cache.item_path(root, "c")
    item.write_bytes(item.read_bytes()[:-100])  # a damaged cache is repaired
    assert run(raw, root)["num_skipped"] == 2
    assert run(raw, root, options={"scale": 2.0})["num_skipped"] == 0


def test_rooms_of_another_generator_are_made_again(tmp_path):
    """And a cache from before generators were recorded loads as it is."""
    room = Scan("room", np.random.default_rng(0).uniform(0, 4, (1500, 3)).astype(np.float32))

    def run_rooms(generator):
        entry = Entry("room", "procedural room", "procedural room 0", partial(replace, room))
        source = Source([replace(entry, generator=generator)], {})
        return prepare.prepare(
            source, tmp_path, holds="scans", options=OPTIONS, origin={}, workers=0
        )

    assert run_rooms("rooms 1")["num_skipped"] == 0
    assert run_rooms("rooms 1")["num_skipped"] == 1
    assert cache.read_manifest(tmp_path)["items"][0]["generator"] == "rooms 1"
    assert run_rooms("rooms 2")["num_skipped"] == 0
    manifest = cache.read_manifest(tmp_path)
    del manifest["format"], manifest["items"][0]["generator"]
    cache.write_manifest(tmp_path, manifest)
    np.testing.assert_array_equal(open_scans(str(tmp_path))[0].points, room.points)


def test_procedural_rooms_say_their_generators_version():
    (entry,) = open_scans("procedural:1").entries
    assert entry.generator == rooms.VERSION


def test_a_killed_preparation_continues(raw, tmp_path):
    root = tmp_path / "out"

    def killed_after_two(outcomes):
        for count, outcome in enumerate(outcomes):
            if count == 2:
                raise KeyboardInterrupt
            yield outcome

    with pytest.raises(KeyboardInterrupt):
        run(raw, root, progress=killed_after_two)
    (root / "items" / ".c.npz.123").write_bytes(b"half a file of a killed process")
    with pytest.raises(ValueError, match="not finished"):
        open_scans(str(root))
    manifest = run(raw, root)
    assert manifest["num_skipped"] >= 2
    assert open_scans(str(root)).names == ["a", "b", "c"]
    assert sorted(path.name for path in (root / "items").iterdir()) == ["a.npz", "b.npz", "c.npz"]


def test_folders_that_cannot_be_used_are_refused_first(raw, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/out cannot be written"):
        run(raw, tmp_path / "file" / "out")
    with pytest.raises(ValueError, match="holds other files"):
        run(raw, raw)
    run(raw, tmp_path / "scans")
    with pytest.raises(ValueError, match="is a cache of scans"):
        prepare.check_writable(tmp_path / "scans", "shapes", 0)
    usage = prepare.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="10 are free"):
        run(raw, tmp_path / "other")


def test_a_disk_that_fills_ends_the_preparation(raw, tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_item", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run(raw, tmp_path / "out")
    assert not cache.read_manifest(tmp_path / "out")["complete"]


def test_script_on_scans(raw, tmp_path):
    def prepare_scans(*changes, source=raw):
        flags = ["--kind=scans", f"--source={source}", f"--out={tmp_path / 'out'}", "--workers=0"]
        return run_here("prepare_data", *flags, *changes)

    done = prepare_scans()
    assert done.code == 2
    assert "3 scans, 4,500 points" in done.out
    assert "failed: nan: " in done.err
    done = prepare_scans("--limit=1")
    assert done.code == 2  # "empty" is known
    assert "1 scans" in done.out
    done = prepare_scans(source=tmp_path / "none")
    assert done.code == 1
    assert "does not exist" in done.err


@pytest.mark.skipif(not REAL.is_dir(), reason="no real data beside the repository")
def test_script_on_real_shapes(tmp_path):
    flags = ["--kind=shapes", f"--source={REAL / 'shapes/modelnet'}", "--workers=0"]
    flags += [f"--out={tmp_path / 'out'}", "--num-points=300", "--seed=3"]
    assert run_here("prepare_data", *flags, "--categories", "chair", "sofa").code == 0
    done = run_here("prepare_data", *flags)
    assert done.code == 0
    assert "10 shapes, 3,000 points" in done.out
    assert "4 were there already" in done.out
    cached = open_shapes(str(tmp_path / "out"), num_points=300)
    direct = open_shapes(str(REAL / "shapes/modelnet"), num_points=300, seed=3)
    assert cached.names == direct.names
    for ours, theirs in zip(cached, direct):
        np.testing.assert_array_equal(ours.points, theirs.points)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["origin"]["source"].endswith("modelnet")
