"""Meshes and point sets: every form of OFF, uniform samples, categories, splits, orientation."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from fixtures.paths import REAL_DATA

from fourdc_jax.data.readers import modelnet
from fourdc_jax.data.readers.meshes import load_mesh, parse_off, sample_surface
from fourdc_jax.data.readers.shapes import ShapeOptions, find_shapes

REAL = REAL_DATA / "shapes"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="no real data beside the repository")
OPTIONS = ShapeOptions(num_points=500, min_points=100, categories=(), split="", up="auto", seed=0)

TETRAHEDRON = """OFF
4 4 6
0 0 0
1 0 0
0 1 0
0 0 1
3 0 2 1
3 0 1 3
3 0 3 2
3 1 2 3
"""
SQUARE = "OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"


def chair_mesh():
    """A seat with a backrest at +y, as ModelNet's chairs stand: it faces -y."""
    seat = trimesh.creation.box((1, 1, 0.1))
    back = trimesh.creation.box((1, 0.1, 1))
    back.apply_translation((0, 0.45, 0.5))
    return trimesh.util.concatenate([seat, back])


@pytest.mark.parametrize(
    "text",
    [
        TETRAHEDRON,
        TETRAHEDRON.replace("OFF\n", "OFF"),  # ModelNet40's glued header
        TETRAHEDRON.replace("OFF\n", "OFF "),
        TETRAHEDRON.replace("\n", "\r\n"),
        TETRAHEDRON.replace("OFF\n", "# made by hand\n\nOFF # magic\n"),
        TETRAHEDRON.replace("4 4 6", "4 4"),
        TETRAHEDRON.replace("3 1 2 3", "3 1 2 3 255 0 0") + "\n\n",
        TETRAHEDRON.replace("OFF\n", "COFF\n").replace("0 0 1\n", "0 0 1 9 9 9 255\n"),
    ],
)
def test_off_variants(text):
    vertices, faces = parse_off(text)
    np.testing.assert_array_equal(vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(faces, [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def test_off_polygons_become_fans():
    np.testing.assert_array_equal(parse_off(SQUARE)[1], [[0, 1, 2], [0, 2, 3]])
    mixed = SQUARE.replace("4 1 0", "4 4 0") + "3 0 1 2\n2 0 1\n1 3\n"
    np.testing.assert_array_equal(parse_off(mixed)[1], [[0, 1, 2], [0, 2, 3], [0, 1, 2]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("PLY\n1 2 3\n", "first line is 'PLY' instead of OFF"),
        ("OFF\n", "counts"),
        ("OFF\nfour four 6\n", "not a readable"),
        (TETRAHEDRON[:40], "ends after"),
        (TETRAHEDRON.replace("4 4 6", "4 0 0"), "4 vertices and 0 faces"),
        (TETRAHEDRON.replace("3 1 2 3", "3 1 2 4"), "uses vertex 4 of 4"),
        (TETRAHEDRON.replace("3 1 2 3", "3 1 2 -1"), "uses vertex"),
        (TETRAHEDRON.replace("3 1 2 3", "3 1 2"), "face of 3 vertices"),
        (TETRAHEDRON.replace("0 0 1\n", "0 0 nan\n"), "not finite"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "area 0"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n2 0 1\n", "no faces"),
    ],
)
def test_damaged_off_is_named(tmp_path, text, message):
    path = tmp_path / "bad.off"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"bad\.off.*{message}"):
        load_mesh(path)


@pytest.mark.parametrize("suffix", ["off", "obj", "ply", "stl", "glb"])
def test_every_mesh_format_gives_the_same_surface(tmp_path, suffix):
    chair_mesh().export(tmp_path / f"mesh.{suffix}")
    mesh = load_mesh(tmp_path / f"mesh.{suffix}")
    assert mesh.area == pytest.approx(chair_mesh().area, rel=1e-6)
    np.testing.assert_allclose(mesh.bounds, chair_mesh().bounds, atol=1e-6)


def test_sampling_is_uniform_in_area_in_any_prefix():
    """Two triangles of areas 1 and 3, far apart, one of them cut into many: counts and centroid."""
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [9, 0, 0], [15, 0, 0], [9, 1, 0]], float)
    mesh = trimesh.Trimesh(vertices, [[0, 1, 2], [3, 4, 5]], process=False)
    points = sample_surface(mesh, 20_000, np.random.default_rng(0))
    for part in (points, points[:5000]):
        far = part[:, 0] > 5
        assert abs(far.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / len(part))
        np.testing.assert_allclose(part[far].mean(axis=0), [11, 1 / 3, 0], atol=0.1)


def write_tree(root, files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TETRAHEDRON)


def found(root, **options):
    entries = find_shapes(root, ShapeOptions(**{**vars(OPTIONS), **options}))
    return [(entry.category, entry.name, entry.split) for entry in entries]


def test_trees_with_and_without_splits(tmp_path):
    write_tree(
        tmp_path,
        (
            *("chair/train/chair_0001.off", "chair/test/chair_0002.off", "night_stand/a.off"),
            *("__MACOSX/chair/._chair_0001.off", ".cache/chair/x.off", "Bath Tub/b.OFF"),
        ),
    )
    everything = [
        ("bath_tub", "b", ""),
        ("chair", "chair_0001", "train"),
        ("chair", "chair_0002", "test"),
        ("night_stand", "a", ""),
    ]
    assert found(tmp_path) == everything
    assert found(tmp_path, split="test") == everything[2:3]
    assert found(tmp_path, categories=("nightstand",)) == everything[3:]
    assert found(tmp_path / "chair") == everything[1:3]
    assert found(tmp_path / "chair/test") == everything[2:3]
    assert found(tmp_path / "chair/test/chair_0002.off") == everything[2:3]
    with pytest.raises(ValueError, match=r"split 'val'.*\('chair', 'train'\)"):
        found(tmp_path, split="val")
    with pytest.raises(ValueError, match=r"sofa.*there are"):
        found(tmp_path, categories=("sofa",))
    with pytest.raises(ValueError, match="split must be"):
        found(tmp_path, split="training")


def test_deeper_trees_and_equal_names(tmp_path):
    write_tree(tmp_path, ["sofa/1a/models/model.off", "sofa/2b/models/model.off"])
    assert found(tmp_path, categories=("sofa",)) == [
        ("sofa", "sofa/1a/models/model", ""),
        ("sofa", "sofa/2b/models/model", ""),
    ]


def test_no_shapes(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here\n")
    with pytest.raises(ValueError, match=r"no shape in .*\.off"):
        found(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        found(tmp_path / "missing")


def test_point_sets_of_every_kind(tmp_path):
    points = np.random.default_rng(0).normal(size=(200, 3))
    folder = tmp_path / "table"
    folder.mkdir()
    np.save(folder / "a.npy", points)
    (folder / "b.json").write_text(json.dumps({"vertices": points.tolist(), "centroid": [0, 0, 0]}))
    np.savetxt(folder / "c.txt", np.concatenate([points, points], axis=1), delimiter=",")
    trimesh.PointCloud(points).export(folder / "d.ply")
    (folder / "notes.json").write_text('{"author": "x"}')
    (folder / "list.txt").write_text("table_0001\n")
    (tmp_path / "modelnet40_train.txt").write_text("table_0001\ntable_0002\n")
    entries = find_shapes(tmp_path, OPTIONS)
    assert [entry.name for entry in entries] == ["a", "b", "c", "d"]
    for entry in entries:
        entry.check()
        shape = entry.read()
        assert shape.points.dtype == np.float32
        rows = np.lexsort(shape.points.T), np.lexsort(points.T)
        np.testing.assert_allclose(shape.points[rows[0]], points[rows[1]], rtol=1e-5)
    few = find_shapes(tmp_path, ShapeOptions(**{**vars(OPTIONS), "num_points": 150}))[0].read()
    assert len(few.points) == 150
    assert len({tuple(row) for row in few.points.tolist()}) == 150
    strict = ShapeOptions(**{**vars(OPTIONS), "min_points": 201})
    with pytest.raises(ValueError, match=r"a\.npy has 200 points, fewer than the minimum of 201"):
        find_shapes(tmp_path, strict)[0].read()


def test_samples_depend_on_seed_and_shape_only(tmp_path):
    write_tree(tmp_path, ["table/a.off", "table/b.off"])
    first, second = (entry.read().points for entry in find_shapes(tmp_path, OPTIONS))
    assert first.shape == (500, 3)
    assert not np.array_equal(first, second)
    again = find_shapes(tmp_path / "table/a.off", OPTIONS)[0].read().points
    np.testing.assert_array_equal(first, again)
    other = find_shapes(tmp_path, ShapeOptions(**{**vars(OPTIONS), "seed": 1}))[0].read().points
    assert not np.array_equal(first, other)


def mean_of_backrest(points):
    return points[points[:, 2] > 0.2].mean(axis=0)


@pytest.mark.parametrize(
    ("file", "up", "turn"),
    [
        ("chair/chair_0001.off", "auto", np.eye(3)),
        # y up, as modelnet40_normal_resampled: (x, y, z) -> (x, z, -y)
        ("chair/chair_0001.off", "y", np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])),
        ("chair/chair_0001.txt", "auto", np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])),
    ],
)
def test_chairs_of_modelnet_face_x(tmp_path, file, up, turn):
    mesh = chair_mesh()
    mesh.vertices = mesh.vertices @ np.array(turn).T
    path = tmp_path / file
    path.parent.mkdir()
    if path.suffix == ".off":
        mesh.export(path)
    else:
        points, face = trimesh.sample.sample_surface(mesh, 500, seed=0)
        np.savetxt(path, np.concatenate([points, mesh.face_normals[face]], 1), delimiter=",")
    options = ShapeOptions(**{**vars(OPTIONS), "up": up})
    back = mean_of_backrest(find_shapes(tmp_path, options)[0].read().points)
    np.testing.assert_allclose(back, [-0.45, 0, 0.6], atol=0.06)


def test_shapes_of_unknown_front_stay(tmp_path):
    (tmp_path / "chair").mkdir()
    chair_mesh().export(tmp_path / "chair/armchair.off")
    back = mean_of_backrest(find_shapes(tmp_path, OPTIONS)[0].read().points)
    np.testing.assert_allclose(back, [0, 0.45, 0.6], atol=0.06)
    with pytest.raises(ValueError, match="up must be"):
        find_shapes(tmp_path, ShapeOptions(**{**vars(OPTIONS), "up": "x"}))[0].read()


def test_orientations_are_rotations():
    for matrix in (*modelnet.FRONT.values(), modelnet.Z_UP_FROM_Y_UP):
        np.testing.assert_array_equal(matrix @ matrix.T, np.eye(3))
        assert np.linalg.det(matrix) == 1


@needs_real_data
@pytest.mark.parametrize("folder", ["modelnet", "modelnet10_1024", "other_cad"])
def test_every_real_shape_is_read(folder):
    options = ShapeOptions(**{**vars(OPTIONS), "num_points": 1024, "min_points": 1024})
    entries = find_shapes(REAL / folder, options)
    assert len(entries) == {"modelnet": 10, "modelnet10_1024": 32, "other_cad": 23}[folder]
    for entry in entries:
        entry.check()
        shape = entry.read()
        assert shape.category == Path(entry.location).relative_to(REAL / folder).parts[0]
        assert shape.points.shape == (1024, 3)
        assert np.ptp(shape.points, axis=0).min() > 0


@needs_real_data
@pytest.mark.parametrize("name", ["chair_0001", "chair_0890", "toilet_0001", "sofa_0011"])
def test_real_fronts_face_x(name):
    """Backrests and cisterns are the upper part: after reading they lie behind, at low x."""
    options = ShapeOptions(**{**vars(OPTIONS), "num_points": 4096})
    entries = {entry.name: entry for entry in find_shapes(REAL / "modelnet", options)}
    points = entries[name].read().points
    unit = (points - points.min(axis=0)) / np.ptp(points, axis=0)
    x, y, _ = unit[unit[:, 2] > 0.7].mean(axis=0)
    assert x < 0.3
    assert abs(y - 0.5) < 0.05
