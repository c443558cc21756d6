"""A confusion matrix as a picture."""

import numpy as np
import pytest
from matplotlib import image

from fourdc_jax.viz.plots.confusion import draw_confusion, normalize_rows


def test_rows_are_shares_of_their_class_and_empty_ones_are_none():
    shares = normalize_rows(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(shares[0], [0.75, 0.25])
    assert np.isnan(shares[1]).all()


def test_the_diagonal_of_a_perfect_matrix_is_dark_and_the_rest_light(tmp_path):
    perfect = draw_confusion(np.eye(5, dtype=np.int64) * 7, [*"abcde"], tmp_path / "a.png")
    empty = draw_confusion(np.zeros((5, 5), np.int64), [*"abcde"], tmp_path / "b.png")
    dark = [(image.imread(path)[..., :3].sum(axis=2) < 1).sum() for path in (perfect, empty)]
    assert dark[0] - dark[1] == pytest.approx(5 * 40**2, rel=0.15)


def test_another_number_of_names_is_told(tmp_path):
    with pytest.raises(ValueError, match="1 names for 2 classes"):
        draw_confusion(np.eye(2, dtype=np.int64), ["a"], tmp_path / "a.png")
