"""Labels as classes: every label set to its own, users' clouds, and labels that are wrong."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from fixtures.paths import REAL_DATA
from fixtures.scenes import build_scene, build_source

from fourdc_jax.data.label_sets import NYU40_OF_SCANNET20, SCANNET20
from fourdc_jax.data.scan import Scan
from fourdc_jax.data.sources.labelled import ClassParams, LabelledScans, class_labels, find_classes
from fourdc_jax.data.sources.source import open_scans

REAL = REAL_DATA / "scenes"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="no real data beside the repository")


def with_labels(values, label_set):
    labels = np.array(values, np.int32)
    return Scan(
        "scene_0", np.zeros((len(labels), 3), np.float32), None, labels, label_set=label_set
    )


def test_every_label_set_becomes_its_classes():
    nyu40 = with_labels([*NYU40_OF_SCANNET20, 0, 13, 40], "nyu40")
    np.testing.assert_array_equal(class_labels(nyu40, "scannet20", 20), [*range(20), 255, 255, 255])
    rooms = with_labels([0, 19, 255], "scannet20")
    np.testing.assert_array_equal(class_labels(rooms, "scannet20", 20), [0, 19, 255])
    s3dis = with_labels([0, 12], "s3dis")
    np.testing.assert_array_equal(class_labels(s3dis, "s3dis", 13), [0, 12])
    own = with_labels([-100, -1, 0, 4, 255], "file")
    np.testing.assert_array_equal(class_labels(own, "file", 5), [255, 255, 0, 4, 255])


@pytest.mark.parametrize(
    ("scan", "label_set", "message"),
    [
        (replace(build_scene(), labels=None), "scannet20", "'scene_0' has no labels.*combined.tsv"),
        (with_labels([1], "s3dis"), "scannet20", "labels of 's3dis'.*'scannet20': set"),
        (with_labels([1], "nyu40"), "s3dis", "labels of 'nyu40'"),
        (with_labels([1], "file"), "scannet20", "labels of 'file'"),
        (with_labels([1, 20, 27], "scannet20"), "scannet20", "the label 20.*20 classes, 0 to 19"),
        (with_labels([1, 256], "file"), "file", "the label 256"),
    ],
)
def test_missing_and_wrong_labels_are_told_when_opened(scan, label_set, message):
    with pytest.raises(ValueError, match=message):
        LabelledScans(build_source([scan]), label_set, 20)


def save_cloud(path, seed, labels):
    scene = build_scene(seed)
    np.savez(path, points=scene.points, labels=labels(scene.labels), colors=scene.colors)


def test_a_folder_of_a_users_own_clouds(tmp_path):
    """As documented: points, labels, colours, and the classes' names beside them."""
    for seed in range(2):
        save_cloud(tmp_path / f"shed_{seed}.npz", seed, lambda labels: labels.astype(np.int64) - 1)
    (tmp_path / "classes.txt").write_text("soil\nfence post\n\n")
    classes = find_classes(ClassParams("file", 0), str(tmp_path))
    assert classes.names == ("soil", "fence post")
    assert len(set(classes.colors)) == 2
    scans = pickle.loads(pickle.dumps(LabelledScans(open_scans(str(tmp_path)), "file", 2)))
    assert scans.names == ["shed_0", "shed_1"]
    for seed in range(len(scans)):
        given, scan = build_scene(seed), scans[seed]
        np.testing.assert_array_equal(scan.points, given.points)
        np.testing.assert_array_equal(scan.colors, given.colors)
        np.testing.assert_array_equal(
            scan.labels, np.where(given.labels == 0, 255, given.labels - 1)
        )
        assert scan.label_set == "file"


def test_a_clouds_bad_coordinates_are_named(tmp_path):
    points = build_scene().points.copy()
    points[7, 1] = np.nan
    np.savez(tmp_path / "shed.npz", points=points, labels=np.zeros(len(points), np.int64))
    with pytest.raises(ValueError, match=r"shed\.npz: 1 of 4000 points .* not finite.*point 7"):
        LabelledScans(open_scans(str(tmp_path)), "file", 1)


def test_the_number_of_classes_is_known_once(tmp_path):
    with pytest.raises(ValueError, match=r"0 classes: write their names into .*classes\.txt"):
        find_classes(ClassParams("file", 0), str(tmp_path))
    assert find_classes(ClassParams("file", 3), str(tmp_path)).names[2] == "class 2"
    (tmp_path / "classes.txt").write_text("soil\nfence\n")
    assert len(find_classes(ClassParams("file", 2), str(tmp_path))) == 2
    with pytest.raises(ValueError, match="names 2 classes and num_classes is 3"):
        find_classes(ClassParams("file", 3), str(tmp_path))
    with pytest.raises(ValueError, match="256 classes"):
        find_classes(ClassParams("file", 256), str(tmp_path / "elsewhere"))
    assert len(find_classes(ClassParams("scannet20", 0), "procedural")) == 20
    with pytest.raises(ValueError, match="s3dis has 13 classes"):
        find_classes(ClassParams("s3dis", 20), "somewhere")


def test_procedural_rooms_have_the_twenty_classes():
    scan = LabelledScans(open_scans("procedural:1"), "scannet20", 20)[0]
    assert {0, 1} < set(scan.labels.tolist()) <= {*range(20), 255}


@needs_real_data
def test_real_scenes_of_both_versions_share_their_classes():
    """A scene annotated in version 1 and an export of its rescan: much the same furniture."""
    source = open_scans(str(REAL)).subset(["scene0000_00", "scene0000_01"])
    first, second = LabelledScans(source, "scannet20", 20)
    shares = [np.bincount(s.labels, minlength=256)[:20] / len(s.labels) for s in (first, second)]
    same = [SCANNET20.names.index(name) for name in ("wall", "floor", "bed", "sofa", "curtain")]
    np.testing.assert_allclose(shares[0][same], shares[1][same], atol=0.015)
    assert np.count_nonzero((shares[0] > 0.002) & (shares[1] > 0.002)) >= 12


@needs_real_data
def test_a_real_s3dis_room_has_its_classes_and_no_others():
    source = open_scans(str(REAL / "s3dis_Area_3_hallway_3"))
    scan = LabelledScans(source, "s3dis", 13)[0]
    assert set(scan.labels.tolist()) == {0, 1, 2, 6, 12}
    with pytest.raises(ValueError, match="labels of 's3dis'"):
        LabelledScans(source, "scannet20", 20)
