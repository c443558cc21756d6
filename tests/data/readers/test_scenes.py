"""ScanNet scenes, S3DIS rooms and exports: labels against an independent route, known defects."""

import json

import numpy as np
import plyfile
import pytest
from fixtures.paths import REAL_DATA

from fourdc_jax.data.readers import scannet
from fourdc_jax.data.readers.exported import read_votenet_export
from fourdc_jax.data.readers.raw_points import ScanOptions
from fourdc_jax.data.readers.s3dis import read_room
from fourdc_jax.data.readers.scans import find_scans
from fourdc_jax.data.scan import instance_boxes

OPTIONS = ScanOptions(align_axes=True, scale=1.0, min_points=10)
REAL = REAL_DATA / "scenes"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="no real data beside the repository")
META = REAL / "meta"

NUM_POINTS = 60
TABLE_V2 = "id\traw_category\tcategory\tnyu40id\n1\twall\twall\t1\n2\tcoffee table\ttable\t7\n"
TABLE_V1 = "id\tcategory\tnyu40id\n1\twall\t1\n7\tcoffee table\t39\n195\ttoaster\t40\n9\tcat\t\n"


def write_vertices(path, points, labels=None):
    fields = [(axis, "f4") for axis in "xyz"] + [(c, "u1") for c in ("red", "green", "blue")]
    vertex = np.zeros(len(points), fields + ([] if labels is None else [("label", "u2")]))
    for axis, values in zip("xyz", points.T):
        vertex[axis] = values
    if labels is not None:
        vertex["label"] = labels
    plyfile.PlyData([plyfile.PlyElement.describe(vertex, "vertex")]).write(str(path))


@pytest.fixture
def scene(tmp_path):
    """A scene of 6 segments of 10 points: a wall, two tables, and a segment without an object."""
    folder = tmp_path / "scans" / "scene0042_00"
    folder.mkdir(parents=True)
    points = np.random.default_rng(0).uniform(0, 4, (NUM_POINTS, 3)).astype(np.float32)
    write_vertices(folder / "scene0042_00_vh_clean_2.ply", points)
    segments = {"segIndices": np.repeat([10, 20, 30, 40, 50, 60], 10).tolist()}
    (folder / "scene0042_00_vh_clean_2.0.010000.segs.json").write_text(json.dumps(segments))
    groups = [("wall", [10, 20]), ("coffee table", [30]), ("coffee table", [40]), ("yeti", [50])]
    write_groups(folder, groups)
    turn = "axisAlignment = 0 -1 0 1 1 0 0 2 0 0 1 3 0 0 0 1\nsceneType = Lab\n"
    (folder / "scene0042_00.txt").write_text(turn)
    (tmp_path / "scannetv2-labels.combined.tsv").write_text(TABLE_V2)
    return folder, points


def write_groups(folder, groups):
    rows = [
        {"id": i, "objectId": i, "label": label, "segments": segments}
        for i, (label, segments) in enumerate(groups)
    ]
    path = folder / f"{folder.name}.aggregation.json"
    path.write_text(json.dumps({"segGroups": rows}))


def read_only_scan(root, options=OPTIONS):
    (entry,) = find_scans(root, options)
    entry.check()
    return entry.read()


def test_scene_is_labelled_through_its_segments(scene):
    folder, points = scene
    scan = read_only_scan(folder.parent)
    assert (scan.name, scan.label_set) == ("scene0042_00", "nyu40")
    np.testing.assert_array_equal(scan.labels, np.repeat([1, 1, 7, 7, 0, 0], 10))
    np.testing.assert_array_equal(scan.instances, np.repeat([1, 1, 2, 3, 4, 0], 10))
    turned = np.stack([1 - points[:, 1], 2 + points[:, 0], 3 + points[:, 2]], axis=1)
    np.testing.assert_allclose(scan.points, turned, rtol=1e-6)
    np.testing.assert_array_equal(scan.boxes[:, 6], [1, 7, 7, 0])
    third = turned[30:40]
    np.testing.assert_allclose(scan.boxes[2, :3], (third.max(0) + third.min(0)) / 2, rtol=1e-5)
    np.testing.assert_allclose(scan.boxes[2, 3:6], np.ptp(third, axis=0), rtol=1e-4)


def test_alignment_is_an_option_and_absent_from_test_scenes(scene):
    folder, points = scene
    unaligned = ScanOptions(align_axes=False, scale=1.0, min_points=10)
    np.testing.assert_array_equal(read_only_scan(folder, unaligned).points, points)
    (folder / "scene0042_00.txt").write_text("numDepthFrames = 3\n")
    np.testing.assert_array_equal(read_only_scan(folder).points, points)
    (folder / "scene0042_00.txt").unlink()
    np.testing.assert_array_equal(read_only_scan(folder).points, points)
    (folder / "scene0042_00.txt").write_text("axisAlignment = 1 0 0\n")
    with pytest.raises(ValueError, match=r"scene0042_00\.txt.*16 numbers"):
        read_only_scan(folder)


def test_every_object_listed_twice_counts_once(scene, caplog):
    """As in scene0217_00: the second copy must not renumber the instances."""
    folder, _ = scene
    once = read_only_scan(folder)
    groups = [("wall", [10, 20]), ("coffee table", [30]), ("coffee table", [40]), ("yeti", [50])]
    write_groups(folder, groups * 2)
    assert not caplog.records
    twice = read_only_scan(folder)
    np.testing.assert_array_equal(twice.instances, once.instances)
    np.testing.assert_array_equal(twice.labels, once.labels)
    read_only_scan(folder)
    (record,) = caplog.records  # told once, however often the scene is read
    assert "scene0042_00.aggregation.json lists 4 objects again" in record.getMessage()


def test_tables_of_both_versions_join_with_the_second_first(scene, tmp_path):
    folder, _ = scene
    (tmp_path / "scannet-labels.combined.tsv").write_text(TABLE_V1)
    write_groups(folder, [("toaster", [10]), ("coffee table", [30]), ("cat", [40])])
    scan = read_only_scan(folder.parent)
    np.testing.assert_array_equal(scan.labels, np.repeat([40, 0, 7, 0, 0, 0], 10))


def test_without_a_table_instances_stay_and_labels_come_from_the_label_mesh(
    scene, tmp_path, caplog
):
    folder, points = scene
    (tmp_path / "scannetv2-labels.combined.tsv").unlink()
    scan = read_only_scan(folder.parent)
    assert scan.labels is None
    assert scan.boxes is None
    assert scan.instances.max() == 4
    ids = np.repeat([1, 1, 7, 7, 50, 0], 10)  # 50: the defect of scene0270_00
    write_vertices(folder / "scene0042_00_vh_clean_2.labels.ply", points, ids)
    scan = read_only_scan(folder.parent)
    np.testing.assert_array_equal(scan.labels, np.where(ids == 50, 0, ids))
    assert "labels.ply has the label 50, no NYU40 id" in caplog.text


def test_label_mesh_of_the_first_version_is_translated_or_refused(scene, tmp_path):
    folder, points = scene
    (folder / "scene0042_00.aggregation.json").unlink()
    ids = np.repeat([1, 7, 195, 9, 333, 0], 10)
    write_vertices(folder / "scene0042_00_vh_clean_2.labels.ply", points, ids)
    assert read_only_scan(folder.parent).labels is None
    (tmp_path / "scannet-labels.combined.tsv").write_text(TABLE_V1)
    labels = read_only_scan(folder.parent).labels
    np.testing.assert_array_equal(labels, np.repeat([1, 39, 40, 0, 0, 0], 10))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("scene0042_00_vh_clean_2.0.010000.segs.json", '{"segIndices": [1, 2]}', "2 segment ids"),
        ("scene0042_00_vh_clean_2.0.010000.segs.json", '{"segIndices": [1, ', "not a readable"),
        ("scene0042_00.aggregation.json", '{"segGroups": [{"id": 1}]}', "not a readable"),
        ("scene0042_00.aggregation.json", "", "is empty"),
        ("scene0042_00_vh_clean_2.ply", "ply\nformat ascii 1.0\nend_header\n", "not a readable"),
    ],
)
def test_damaged_scene_files_are_named(scene, file, content, message):
    folder, _ = scene
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=f"{file}.*{message}"):
        find_scans(folder, OPTIONS)[0].read()


def test_instance_boxes_without_instances():
    empty = instance_boxes(np.ones((3, 3), np.float32), np.ones(3, np.int32), np.zeros(3, np.int32))
    assert empty.shape == (0, 7)


@needs_real_data
def test_real_scene_agrees_with_its_label_mesh():
    """The raw categories and the label mesh (ids of version 1) reach NYU40 by two routes."""
    mesh = REAL / "scene0000_00/scene0000_00_vh_clean_2.ply"
    tables = scannet.find_label_tables(REAL)
    assert [path.name for path in tables] == [
        "scannetv2-labels.combined.tsv.txt",
        "scannet-labels.combined.tsv.txt",
    ]
    scan = scannet.read_scene(mesh, ScanOptions(True, 1.0, 10, tables))
    colored = mesh.with_name("scene0000_00_vh_clean_2.labels.ply")
    table = scannet.read_label_tables(tables)
    np.testing.assert_array_equal(scan.labels, scannet.read_label_mesh(colored, table))
    assert {1, 2, 4, 6, 7, 14, 16, 33, 39} <= set(scan.labels.tolist())  # 39: trashcan, v1 only
    assert len(scan.boxes) == scan.instances.max() == 55
    only_v2 = scannet.read_scene(mesh, ScanOptions(True, 1.0, 10, tables[:1]))
    assert 39 not in only_v2.labels


@needs_real_data
def test_real_scene_is_aligned_to_the_room():
    mesh = REAL / "scene0000_00/scene0000_00_vh_clean_2.ply"
    aligned, raw = (
        scannet.read_scene(mesh, ScanOptions(align, 1.0, 10, ())).points.astype(np.float64)
        for align in (True, False)
    )
    extents = np.ptp(aligned[:, :2], axis=0).prod(), np.ptp(raw[:, :2], axis=0).prod()
    assert extents[0] < 0.75 * extents[1]  # turned into its axes the room fills its box better
    assert abs(np.percentile(aligned[:, 2], 2)) < 0.1  # and stands on z = 0
    sample = slice(None, None, 500)
    distances = [np.linalg.norm(p[sample] - p[0], axis=1) for p in (aligned, raw)]
    np.testing.assert_allclose(*distances, atol=1e-4)


@needs_real_data
def test_real_export_has_the_boxes_of_its_instances():
    """VoteNet's own boxes of 18 classes are found again from the points of the instances."""
    scan = read_votenet_export(REAL / "scene0000_01/scene0000_01_vert_all.npy", OPTIONS)
    computed = instance_boxes(scan.points, scan.labels, scan.instances)
    distance = np.abs(computed[None] - scan.boxes[:, None]).max(axis=2)  # [29, instances]
    assert len(scan.boxes) == 29
    assert distance.min(axis=1).max() < 1e-4


def write_room(folder, instances):
    (folder / "Annotations").mkdir(parents=True)
    for name, rows in instances.items():
        (folder / "Annotations" / f"{name}.txt").write_text("\n".join(rows) + "\n")


def rows_of(generator, count):
    points = generator.uniform(0, 3, (count, 3))
    return [f"{x:.3f} {y:.3f} {z:.3f} 10 20 30" for x, y, z in points]


def test_room_of_instances(tmp_path):
    rng = np.random.default_rng(0)
    instances = {
        "chair_1": rows_of(rng, 20),
        "chair_2": rows_of(rng, 10),
        "stairs_1": rows_of(rng, 5),
    }
    for area in ("Area_1", "Area_2"):
        write_room(tmp_path / area / "office_1", instances)
        (tmp_path / area / "office_1" / "office_1.txt").write_text("\n".join(instances["chair_1"]))
    (tmp_path / "Area_1" / "Area_1_alignmentAngle.txt").write_text("## angles\noffice_1 180\n")
    entries = find_scans(tmp_path, OPTIONS)
    assert [entry.name for entry in entries] == ["Area_1_office_1", "Area_2_office_1"]
    scan = entries[1].read()
    assert scan.label_set == "s3dis"
    np.testing.assert_array_equal(scan.labels, np.repeat([8, 8, 12], [20, 10, 5]))
    np.testing.assert_array_equal(scan.instances, np.repeat([1, 2, 3], [20, 10, 5]))
    np.testing.assert_array_equal(scan.colors, np.tile(np.uint8([10, 20, 30]), (35, 1)))


def test_control_characters_of_the_original_rooms(tmp_path):
    rows = rows_of(np.random.default_rng(0), 20)
    rows[3] = "1.0\x100000 2.0 0.5 10 20 30"  # inside a number
    rows[7] = "1.0 2.0 0.5 10 185\x10187"  # instead of a blank
    write_room(tmp_path / "hallway_6", {"ceiling_1": rows})
    scan = read_room(tmp_path / "hallway_6", "hallway_6", OPTIONS)
    np.testing.assert_array_equal(scan.points[3], [1.0, 2.0, 0.5])
    np.testing.assert_array_equal(scan.colors[7], [10, 185, 187])
    rows[9] = "1.0 2.0 oops 1 2 3"
    write_room(tmp_path / "hallway_7", {"ceiling_1": rows})
    with pytest.raises(ValueError, match=r"ceiling_1\.txt.*row 10.*oops"):
        read_room(tmp_path / "hallway_7", "hallway_7", OPTIONS)


@needs_real_data
def test_real_room():
    scan = read_room(REAL / "s3dis_Area_3_hallway_3", "hallway_3", OPTIONS)
    counts = dict(zip(*np.unique(scan.labels, return_counts=True)))
    assert counts == {0: 34283, 1: 33948, 2: 57387, 6: 35890, 12: 13567}
    assert scan.instances.max() == 12
    ceiling, floor = (scan.points[scan.labels == label, 2] for label in (0, 1))
    assert ceiling.min() > floor.max() + 1.5


def test_pointcept_folder(tmp_path):
    folder = tmp_path / "scene0707_00"
    folder.mkdir()
    points = np.random.default_rng(0).uniform(0, 2, (12, 3)).astype(np.float32)
    np.save(folder / "coord.npy", points)
    np.save(folder / "segment20.npy", np.array([-1, 0, 12, 19] * 3, np.int16))
    np.save(folder / "instance.npy", np.array([-1, 0, 1, 2] * 3, np.int32))
    np.save(folder / "normal.npy", points)
    scan = read_only_scan(tmp_path)
    assert scan.name == "scene0707_00"
    np.testing.assert_array_equal(scan.points, points)
    np.testing.assert_array_equal(scan.labels, [0, 1, 14, 39] * 3)
    np.testing.assert_array_equal(scan.instances, [0, 1, 2, 3] * 3)


def test_votenet_exports_of_one_folder(tmp_path):
    rows = np.random.default_rng(0).uniform(0, 2, (12, 6)).astype(np.float32)
    for name in ("scene0001_00", "scene0002_00"):
        np.save(tmp_path / f"{name}_vert.npy", rows)
        np.save(tmp_path / f"{name}_sem_label.npy", np.full(12, 5, np.uint32))
        np.save(tmp_path / f"{name}_ins_label.npy", np.ones(12, np.uint32))
        np.save(tmp_path / f"{name}_bbox.npy", np.zeros((0, 7)))
    np.save(tmp_path / "scene0002_00_vert_all.npy", np.concatenate([rows, rows]))
    entries = find_scans(tmp_path, OPTIONS)
    assert [entry.name for entry in entries] == ["scene0001_00", "scene0002_00"]
    first = entries[0].read()
    assert len(first.points) == 12
    np.testing.assert_array_equal(first.labels, np.full(12, 5))
    assert first.boxes.shape == (0, 7)
    assert len(entries[1].read().points) == 24  # all vertices are preferred to 50,000 of them
