"""Sources: every scan below a folder once, splits, procedural items, what is left out and why."""

import pickle

import numpy as np
import pytest
from fixtures.paths import REAL_DATA

from fourdc_jax.data.scan import Scan
from fourdc_jax.data.shape import Shape
from fourdc_jax.data.sources import source as sources
from fourdc_jax.data.sources.source import open_scans, open_shapes

REAL = REAL_DATA
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="no real data beside the repository")

TRIANGLE = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


def save_scan(path, seed=0, count=1500):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.random.default_rng(seed).uniform(0, 4, (count, 3)).astype(np.float32))


@pytest.fixture
def made(monkeypatch):
    """Cheap procedural items that record the seeds they were made with."""
    seeds = []

    def make_room(seed):
        seeds.append(seed)
        return Scan("a room", np.full((4, 3), seed % 1000, np.float32))

    def make_shape(category, seed):
        seeds.append((category, seed))
        return Shape("a shape", category, np.full((40, 3), seed % 1000, np.float32))

    monkeypatch.setattr(sources.rooms, "make_room", make_room)
    monkeypatch.setattr(sources.shapes, "make_shape", make_shape)
    return seeds


@needs_real_data
def test_every_real_scan_is_found_once():
    source = open_scans(str(REAL / "scenes"))
    assert source.names == [
        "Area4_hallway5",
        "exemplary",
        "s3dis_Area_3_hallway_3",
        "scene0000_00",
        "scene0000_01",
    ]
    assert source.failures == {}
    assert [len(scan.points) for scan in source] == [85855, 86357, 175075, 81369, 80583]
    for scan in source:
        low = np.percentile(scan.points[:, 2], 1)
        assert scan.points.dtype == np.float32
        assert -0.7 < low < 0.3  # upright: the floor of all five lies near z = 0


@needs_real_data
def test_one_scene_folder_or_file_is_enough():
    scene = REAL / "scenes/scene0000_00"
    assert open_scans(str(scene)).names == ["scene0000_00"]
    by_file = open_scans(str(scene / "scene0000_00_vh_clean_2.ply"))
    assert by_file.names == ["scene0000_00"]
    assert 0 < by_file[0].labels.max() <= 40  # annotation and tables are found from the mesh


def test_loose_files_notes_and_equal_names(tmp_path):
    save_scan(tmp_path / "b" / "room.npy", 1)
    save_scan(tmp_path / "a" / "room.npy", 2)
    save_scan(tmp_path / "a" / "hall.npy", 3)
    np.savez(tmp_path / "a" / "hall.npz", points=np.load(tmp_path / "a" / "hall.npy"))
    (tmp_path / "README.txt").write_text("These are scans.\n")
    (tmp_path / "calib.txt").write_text("1 0 0 0 1 0 0 0 1\n")
    (tmp_path / "train.txt").write_text("room\n")
    (tmp_path / "meta.json").write_text("{}")
    save_scan(tmp_path / ".trash" / "old.npy")
    (tmp_path / "again").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    source = open_scans(str(tmp_path))
    assert len(source.names) == 4
    assert source.names[:2] == ["a/hall.npy", "a/hall.npz"]
    assert [scan.name for scan in source] == source.names


def test_split_file(tmp_path):
    for name in "abc":
        save_scan(tmp_path / "scans" / f"{name}.npy")
    split = tmp_path / "train.txt"
    split.write_text("c\n\na  # the good one\nc\n")
    source = open_scans(str(tmp_path / "scans"), split_file=str(split))
    assert source.names == ["c", "a"]
    split.write_text("a\nscene0191_00\n")
    with pytest.raises(ValueError, match=r"1 of the 2 names in .*train\.txt.*scene0191_00"):
        open_scans(str(tmp_path / "scans"), split_file=str(split))
    split.write_text("\n")
    with pytest.raises(ValueError, match="lists nothing"):
        open_scans(str(tmp_path / "scans"), split_file=str(split))
    with pytest.raises(FileNotFoundError, match=r"val\.txt"):
        open_scans(str(tmp_path / "scans"), split_file=str(tmp_path / "val.txt"))


def test_a_folder_without_scans_says_what_is_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing\n")
    with pytest.raises(ValueError, match=r"no scan in .*_vh_clean_2\.ply.*Annotations.*\.pcd"):
        open_scans(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_scans(str(tmp_path / "nowhere"))


def test_damaged_scans_are_left_out_and_listed(tmp_path, caplog):
    save_scan(tmp_path / "good.npy")
    save_scan(tmp_path / "cut.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-5])
    save_scan(tmp_path / "few.npy", count=999)
    (tmp_path / "matrix.txt").write_text("577.9 0 319.5\n0 578.7 239.5\n0 0 1\n")
    (tmp_path / "empty.ply").touch()
    (tmp_path / "page.ply").write_text("<html>\n")
    source = open_scans(str(tmp_path))
    assert source.names == ["good"]
    assert sorted(source.failures) == ["cut", "empty", "few", "matrix", "page"]
    assert all(f"{name}." in reason for name, reason in source.failures.items())
    assert "5 of 6" in caplog.text
    (tmp_path / "good.npy").unlink()
    with pytest.raises(ValueError, match=r"none of the 5 scans.*cut\.npy"):
        open_scans(str(tmp_path))


def test_damage_inside_a_file_is_named_when_read(tmp_path):
    points = np.random.default_rng(0).uniform(0, 4, (1500, 3))
    points[7, 2] = np.nan
    np.save(tmp_path / "holes.npy", points)
    source = open_scans(str(tmp_path))
    with pytest.raises(ValueError, match=r"holes\.npy.*not finite"):
        source[0]


def test_procedural_rooms_differ_by_seed(made):
    train, val = (open_scans("procedural:3", seed=seed) for seed in (0, 1))
    assert made == []  # nothing is made before it is asked for
    assert train.names == ["room_000000", "room_000001", "room_000002"]
    assert not set(train.names) & set(val.names)
    assert [scan.name for scan in val] == val.names
    assert made == [1_000_000, 1_000_001, 1_000_002]
    assert len(open_scans("procedural", num_procedural=7)) == 7


@pytest.mark.parametrize("spec", ["procedural:", "procedural:0", "procedural:-3", "procedural:x"])
def test_wrong_procedural_specs(spec):
    with pytest.raises(ValueError, match="procedural:N"):
        open_scans(spec)


def test_procedural_rooms_have_no_split_file(tmp_path):
    with pytest.raises(ValueError, match="another seed"):
        open_scans("procedural:2", split_file=str(tmp_path / "x.txt"))


def test_procedural_shapes_go_round_the_categories(made):
    source = open_shapes("procedural:5", num_points=30, categories=("chair", "nightstand"), seed=2)
    assert source.categories == ["chair", "night_stand", "chair", "night_stand", "chair"]
    assert len(set(source.names)) == 5
    shape = source[3]
    assert (shape.name, shape.category) == (source.names[3], "night_stand")
    assert shape.points.shape == (30, 3)
    assert made == [("night_stand", 2_000_003)]
    with pytest.raises(ValueError, match="categories"):
        open_shapes("procedural", num_points=10)


def test_the_last_used_items_are_kept(made):
    source = open_scans("procedural:4", keep=2)
    source[0], source[1], source[0], source[-4]
    assert made == [0, 1]
    source[2], source[0], source[1]
    assert made == [0, 1, 2, 1]


def test_index_outside(made):
    source = open_scans("procedural:2")
    with pytest.raises(IndexError):
        source[2]
    assert source[np.int64(1)].name == "room_000001"


def test_a_pickled_source_reads_the_same_but_keeps_nothing(tmp_path):
    save_scan(tmp_path / "a.npy")
    source = open_scans(str(tmp_path), keep=1)
    points = source[0].points
    assert source[0].points is points
    with pytest.raises(ValueError, match="read-only"):
        points += 1
    copy = pickle.loads(pickle.dumps(source))
    assert copy[0].points is not points
    np.testing.assert_array_equal(copy[0].points, points)


def test_shapes_by_category_with_missing_ones_named(tmp_path, caplog):
    for file in ("chair/chair_0001.off", "chair/bad.off", "sofa/sofa_0001.off", "lamp/x.off"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(TRIANGLE)
    (tmp_path / "chair/bad.off").write_text("solid stl\n")
    source = open_shapes(str(tmp_path), num_points=50, categories=("chair", "sofa", "desk"))
    assert source.names == ["chair_0001", "sofa_0001"]
    assert source.categories == ["chair", "sofa"]
    assert "desk" in caplog.text
    assert list(source.failures) == ["bad"]
    assert source[1].points.shape == (50, 3)
    split = tmp_path / "list.txt"
    split.write_text("sofa_0001\n")
    assert open_shapes(str(tmp_path), num_points=50, split_file=str(split)).names == ["sofa_0001"]


@needs_real_data
def test_real_shapes_of_the_papers_categories(caplog):
    categories = ("chair", "desk", "dresser", "night_stand", "sofa", "table", "bathtub", "toilet")
    path = REAL / "shapes/modelnet"
    source = open_shapes(str(path), num_points=256, categories=categories)
    assert len(source) == 10
    assert "['desk', 'night_stand']" in caplog.text
    assert all(shape.points.shape == (256, 3) for shape in source)
    json_sets = open_shapes(str(REAL / "shapes/modelnet10_1024"), num_points=4096, split="train")
    assert len(json_sets) == 32
    assert json_sets[0].points.shape == (1024, 3)
    assert "turned at random" in caplog.text
