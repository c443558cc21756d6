"""Labels of voxels: what their points share."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fourdc_jax.data.scenes.targets import voxel_labels


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 255])), max_size=30))
@settings(max_examples=200, deadline=None)
def test_a_voxel_has_the_label_that_all_its_points_share(points):
    rows = np.array([row for row, _ in points], np.int32)
    labels = np.array([label for _, label in points], np.int32)
    expected = []
    for row in range(5):
        own = {label for at, label in points if at == row}
        expected.append(own.pop() if len(own) == 1 else 255)
    assert voxel_labels(labels, rows, 5).tolist() == expected


def test_without_labels_every_voxel_is_ignored():
    assert voxel_labels(None, np.array([0, 1, 1], np.int32), 2).tolist() == [255, 255]
