"""The paper's losses against float64 loops over the printed sums."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fourdc_jax.losses.simsiam import (
    cross_network_loss,
    feature_rank,
    feature_std,
    frame_pair_loss,
    normalize,
)

SHAPE = (2, 5, 4, 3)  # sequences, tracks, frames, channels


def random_features(seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=SHAPE), jnp.float32)


def random_presence(seed=9):
    return jnp.asarray(np.random.default_rng(seed).random(SHAPE[:3]) < 0.7)


def distance(p, z):
    """Equation 1 in float64."""
    p, z = np.asarray(p, np.float64), np.asarray(z, np.float64)
    return -p @ z / (np.linalg.norm(p) * np.linalg.norm(z))


def printed_frame_pairs(p, z, present):
    """Equations 3 and 4: sum and number of pairs."""
    p, z, present = np.asarray(p, np.float64), np.asarray(z, np.float64), np.asarray(present)
    total, count = 0.0, 0
    for b, a in np.ndindex(*SHAPE[:2]):
        for i, j in itertools.combinations(range(SHAPE[2]), 2):
            if present[b, a, i] and present[b, a, j]:
                total += distance(p[b, a, i], z[b, a, j]) / 2 + distance(p[b, a, j], z[b, a, i]) / 2
                count += 1
    return total, count


def printed_cross(p_3d, z_3d, p_4d, z_4d, present):
    """Equations 5 and 6: sum and number of points."""
    p_3d, z_3d, p_4d, z_4d = (np.asarray(x, np.float64) for x in (p_3d, z_3d, p_4d, z_4d))
    where = list(zip(*np.nonzero(np.asarray(present))))
    total = sum(distance(p_3d[k], z_4d[k]) / 2 + distance(p_4d[k], z_3d[k]) / 2 for k in where)
    return total, len(where)


@pytest.mark.parametrize(("reduction", "divisor"), [("pairs", None), ("sequences", SHAPE[0])])
def test_frame_pair_loss_is_equations_3_and_4(reduction, divisor):
    p, z, present = random_features(0), random_features(1), random_presence()
    term = frame_pair_loss(p, z, present, reduction)
    total, count = printed_frame_pairs(p, z, present)
    assert float(term.sum) == pytest.approx(total, rel=1e-5)
    assert float(term.count) == (divisor or count)


@pytest.mark.parametrize("stop_gradient", ["prediction", "projection"])
def test_cross_network_loss_is_equations_5_and_6(stop_gradient):
    features, present = [random_features(i) for i in range(4)], random_presence()
    term = cross_network_loss(*features, present, "pairs", stop_gradient)
    total, count = printed_cross(*features, present)
    assert float(term.sum) == pytest.approx(total, rel=1e-5)
    assert float(term.count) == count


def check_gradient(loss, oracle, argument):
    """The gradient of `loss` is that of `oracle`, by central differences in float64."""
    gradient, argument = np.asarray(jax.grad(loss)(argument)), np.asarray(argument, np.float64)
    for seed in range(4):
        direction = np.random.default_rng(seed).normal(size=argument.shape)
        h = 1e-6
        expected = (oracle(argument + h * direction) - oracle(argument - h * direction)) / (2 * h)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_frame_pair_loss_gradient_reaches_predictions_only():
    p, z, present = random_features(0), random_features(1), random_presence()
    check_gradient(
        lambda p: frame_pair_loss(p, z, present, "pairs").sum,
        lambda p: printed_frame_pairs(p, z, present)[0],
        p,
    )
    to_z = jax.grad(lambda z: frame_pair_loss(p, z, present, "pairs").sum)(z)
    np.testing.assert_array_equal(to_z, 0)


@pytest.mark.parametrize(
    ("stop_gradient", "differentiated"), [("prediction", (1, 3)), ("projection", (0, 2))]
)
def test_cross_network_gradient_reaches_one_side(stop_gradient, differentiated):
    """As printed, the projections z learn and the predictions p are constants."""
    features, present = [random_features(i) for i in range(4)], random_presence()
    for index in range(4):

        def replaced(x, index=index):
            return [x if i == index else feature for i, feature in enumerate(features)]

        def loss(x, replaced=replaced):
            return cross_network_loss(*replaced(x), present, "pairs", stop_gradient).sum

        if index in differentiated:
            check_gradient(loss, lambda x: printed_cross(*replaced(x), present)[0], features[index])
        else:
            np.testing.assert_array_equal(jax.grad(loss)(features[index]), 0)


def test_absent_frames_change_nothing():
    """Neither their features (NaN would be a bug upstream, any number is not) nor extra tracks."""
    p, z, present = random_features(0), random_features(1), random_presence()
    noise = jnp.where(present[..., None], 0.0, 100.0)
    kept = frame_pair_loss(p, z, present, "pairs")
    changed = frame_pair_loss(p + noise, z - noise, present, "pairs")
    assert kept.sum == changed.sum
    padding = [(0, 0), (0, 7), (0, 0)]
    p, z = (jnp.pad(x, [*padding, (0, 0)]) for x in (p, z))
    padded = frame_pair_loss(p, z, jnp.pad(present, padding), "pairs")
    assert float(padded.sum) == pytest.approx(float(kept.sum), rel=1e-6)
    assert padded.count == kept.count


def test_no_pair_at_all_is_zero_over_zero():
    p, z = random_features(0), random_features(1)
    present = jnp.zeros(SHAPE[:3], bool).at[:, :, 0].set(True)  # one frame has no partner
    term = frame_pair_loss(p, z, present, "pairs")
    assert (float(term.sum), float(term.count)) == (pytest.approx(0, abs=1e-5), 0)


def test_zero_features_have_zero_gradient():
    gradient = jax.grad(lambda x: normalize(x).sum())(jnp.zeros(SHAPE))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(normalize(jnp.zeros(SHAPE)), 0)


def test_perfect_agreement_is_minus_one():
    z = jnp.broadcast_to(random_features(0)[:, :, :1], SHAPE)
    present = jnp.ones(SHAPE[:3], bool)
    term = frame_pair_loss(3 * z, z, present, "pairs")
    assert float(term.sum / term.count) == pytest.approx(-1, rel=1e-6)


def test_bfloat16_features_are_summed_in_float32():
    p, z = (jnp.asarray(random_features(i), jnp.bfloat16) for i in range(2))
    term = frame_pair_loss(p, z, random_presence(), "pairs")
    assert term.sum.dtype == jnp.float32


def test_feature_std_is_that_of_simsiam():
    """Per channel over the present, normalised features; 1 / sqrt(c) on the sphere, 0 collapsed."""
    z, present = random_features(0), random_presence()
    kept = np.asarray(z, np.float64)[np.asarray(present)]
    expected = (kept / np.linalg.norm(kept, axis=1, keepdims=True)).std(axis=0).mean()
    term = feature_std(z, present, None)
    assert (float(term.sum), float(term.count)) == (pytest.approx(expected, rel=1e-5), 1)
    collapsed = feature_std(jnp.ones_like(z), present, None)
    assert float(collapsed.sum) == pytest.approx(0, abs=1e-3)
    sphere = jax.random.normal(jax.random.key(0), (1, 2000, 1, 16))
    spread = feature_std(sphere, jnp.ones(sphere.shape[:3], bool), None)
    assert float(spread.sum) == pytest.approx(16**-0.5, rel=0.02)
    assert feature_std(z, jnp.zeros_like(present), None).count == 0


@pytest.mark.parametrize(("statistic", "rtol"), [(feature_std, 1e-5), (feature_rank, 1e-4)])
def test_statistics_of_two_devices_are_those_of_all_features(statistic, rtol):
    z, present = random_features(0), random_presence()
    values, counts = jax.pmap(lambda z, p: statistic(z[None], p[None], "device"), "device")(
        z, present
    )
    np.testing.assert_allclose(values, statistic(z, present, None).sum, rtol=rtol)
    np.testing.assert_array_equal(counts, 1)


def test_feature_rank_is_that_of_the_covariance():
    """Participation ratio of the eigenvalues; 1 on a line, whatever the spread; c on the sphere."""
    z, present = random_features(0), random_presence()
    kept = np.asarray(z, np.float64)[np.asarray(present)]
    values = np.linalg.eigvalsh(np.cov((kept / np.linalg.norm(kept, axis=1, keepdims=True)).T))
    term = feature_rank(z, present, None)
    assert float(term.sum) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)
    signs = jnp.sign(jax.random.normal(jax.random.key(0), (1, 2000, 1, 1)))
    line, everywhere = signs * jnp.ones(16), jnp.ones((1, 2000, 1), bool)
    assert float(feature_std(line, everywhere, None).sum) == pytest.approx(16**-0.5, rel=0.02)
    assert float(feature_rank(line, everywhere, None).sum) == pytest.approx(1, rel=1e-4)
    sphere = jax.random.normal(jax.random.key(0), (1, 2000, 1, 16))
    assert float(feature_rank(sphere, everywhere, None).sum) == pytest.approx(16, rel=0.02)
    assert feature_rank(z, jnp.zeros_like(present), None).count == 0
