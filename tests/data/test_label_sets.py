import numpy as np
import pytest

from fourdc_jax.data.label_sets import (
    IGNORE_LABEL,
    LABEL_SETS,
    NYU40_OF_SCANNET20,
    SCANNET20,
    from_nyu40,
)

# The benchmark's 20 classes: NYU40 id and name.
BENCHMARK = [
    *("1 wall", "2 floor", "3 cabinet", "4 bed", "5 chair", "6 sofa", "7 table", "8 door"),
    *("9 window", "10 bookshelf", "11 picture", "12 counter", "14 desk", "16 curtain"),
    *("24 refrigerator", "28 shower curtain", "33 toilet", "34 sink", "36 bathtub"),
    "39 otherfurniture",
]


def test_scannets_classes_are_the_benchmarks():
    assert len(SCANNET20) == 20
    pairs = zip(NYU40_OF_SCANNET20, SCANNET20.names, strict=True)
    assert [f"{number} {name}" for number, name in pairs] == BENCHMARK


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.uint16])
def test_nyu40_becomes_the_20_classes_and_the_rest_is_ignored(dtype):
    labels = np.arange(256).astype(dtype)
    expected = np.full(256, IGNORE_LABEL)
    for label, line in enumerate(BENCHMARK):
        expected[int(line.split()[0])] = label
    converted = from_nyu40(labels)
    np.testing.assert_array_equal(converted, expected)
    assert converted.dtype == np.int32
    np.testing.assert_array_equal(from_nyu40(np.array([-1, 10**6, 5])), [255, 255, 4])


@pytest.mark.parametrize("label_set", LABEL_SETS.values(), ids=LABEL_SETS)
def test_every_class_has_its_own_name_and_colour(label_set):
    assert len(set(label_set.colors)) == len(set(label_set.names)) == len(label_set)
    colors = np.array(label_set.colors)
    assert colors.shape == (len(label_set), 3)
    assert 0 <= colors.min() <= colors.max() <= 255
