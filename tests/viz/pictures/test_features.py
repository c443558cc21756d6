"""Features as colours: PCA against NumPy, alignment, collapse, refused input."""

import numpy as np
import pytest
from matplotlib import image

from fourdc_jax.viz.pictures.features import draw_features, feature_colors
from fourdc_jax.viz.rendering.camera import look_at_room


def unit_rows(rng, n, c):
    features = rng.normal(size=(n, c)) * np.linspace(3, 0.3, c) + np.linspace(0, 2, c)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_colours_are_the_stretched_principal_components():
    features = unit_rows(np.random.default_rng(0), 500, 6)
    colors = feature_colors(features, clip=0.0)
    centred = features - features.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:3].T
    assert colors.min() == 0
    assert colors.max() == 1
    for channel in range(3):
        correlation = np.corrcoef(colors[:, channel], expected[:, channel])[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-9)


def test_length_and_sign_conventions_do_not_matter():
    rng = np.random.default_rng(1)
    features = unit_rows(rng, 300, 5)
    scaled = features * rng.uniform(0.1, 10, (300, 1))
    np.testing.assert_allclose(feature_colors(scaled), feature_colors(features), atol=1e-9)


def test_outliers_do_not_grey_the_rest():
    rng = np.random.default_rng(2)
    features = np.concatenate([unit_rows(rng, 990, 4), -unit_rows(rng, 10, 4)])
    colors = feature_colors(features, clip=2.0)
    assert colors[:990].std(0).min() > 0.1


def test_rotated_features_of_another_checkpoint_get_the_same_colours():
    rng = np.random.default_rng(3)
    features = unit_rows(rng, 400, 8)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    reference = feature_colors(features)
    aligned = feature_colors(features @ rotation, align_to=reference)
    for channel in range(3):
        assert np.corrcoef(aligned[:, channel], reference[:, channel])[0, 1] > 0.99


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_few_channels_leave_the_rest_grey(channels):
    features = np.random.default_rng(4).normal(size=(100, channels))
    colors = feature_colors(features)
    assert colors.shape == (100, 3)
    np.testing.assert_array_equal(colors[:, channels:], 0.5)


def test_collapsed_features_are_plain_grey():
    features = np.tile(np.array([1.0, 2, 3, 4]), (50, 1)) * np.linspace(1, 2, 50)[:, None]
    np.testing.assert_array_equal(feature_colors(features), 0.5)


def test_bad_features_are_named():
    features = np.ones((10, 4))
    features[3, 2] = np.nan
    with pytest.raises(ValueError, match="1 of 10 feature rows are not finite"):
        feature_colors(features)
    with pytest.raises(ValueError, match=r"not empty, got \[0, 4\]"):
        feature_colors(np.zeros((0, 4)))


def test_picture_shows_input_and_every_checkpoint(tmp_path):
    rng = np.random.default_rng(5)
    points = np.concatenate(
        [rng.uniform([0, 0, 0], [4, 3, 0], (2000, 3)), rng.uniform([0, 3, 0], [4, 3, 2], (1000, 3))]
    )
    features = unit_rows(rng, 3000, 8)
    camera = look_at_room(points, width=200, height=150)
    one = draw_features(points, features, tmp_path / "one.png", camera=camera)
    two = draw_features(
        points, {"early": features, "late": features}, tmp_path / "two.png", camera=camera
    )
    assert image.imread(two).shape[1] > 1.4 * image.imread(one).shape[1]
    with pytest.raises(ValueError, match="'late' has 2999 rows for 3000 points"):
        draw_features(points, {"late": features[1:]}, tmp_path / "three.png", camera=camera)
    with pytest.raises(ValueError, match="no features"):
        draw_features(points, {}, tmp_path / "three.png", camera=camera)
