"""Methods by their name in the config: their terms, their weights, what they need."""

import jax.numpy as jnp
import numpy as np
import pytest
from fourdc_jax.configs.pretrain import get_config

from fourdc_jax.models.contrast import ContrastOutput, TrackFeatures
from fourdc_jax.tasks.pretrain.methods import choose_alarms, choose_method, watch
from fourdc_jax.train.task import StepContext

AT = StepContext(step=0, rng=None, axis_name=None)


def loss_values(**changes):
    return get_config("demo").loss.to_dict() | changes


def features(seed):
    rng = np.random.default_rng(seed)
    p, z = (jnp.asarray(rng.normal(size=(2, 5, 4, 8)), jnp.float32) for _ in range(2))
    return TrackFeatures(p, z, jnp.asarray(rng.random((2, 5, 4)) < 0.8))


BOTH = ContrastOutput(features(0), features(1), {})


@pytest.mark.parametrize(
    ("changes", "names", "with_4d"),
    [
        ({}, {"loss_3d", "loss_3d4d", "loss_4d"}, True),
        ({"weight_3d4d": 0.0, "weight_4d": 0.0}, {"loss_3d"}, False),
        ({"weight_3d": 0.0, "weight_4d": 0.0}, {"loss_3d4d"}, True),
        ({"weight_3d4d": 0.0}, {"loss_3d", "loss_4d"}, True),
    ],
)
def test_a_weight_of_0_leaves_a_term_out(changes, names, with_4d):
    method = choose_method(loss_values(**changes))
    assert set(method.weights) == set(method.terms(BOTH, AT)) == names
    assert method.with_4d == with_4d


def test_terms_of_the_same_features_agree():
    """Both networks alike: their own terms are equal, whatever the weights are."""
    same = ContrastOutput(BOTH.features_3d, BOTH.features_3d, {})
    terms = choose_method(loss_values(weight_3d=3.0)).terms(same, AT)
    assert terms["loss_3d"].sum == terms["loss_4d"].sum
    assert float(terms["loss_3d4d"].count) == float(same.features_3d.present.sum())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "clip"}, r"config\.loss\.method is 'clip'; there is '4dcontrast'"),
        ({"weight_4d": -1.0}, r"the weights 1.0, 1.0, -1.0 must not be negative"),
        ({"weight_3d": 0.0, "weight_3d4d": 0.0}, "nothing trains the 3D encoder"),
        ({"temperature": 0.1}, r"config\.loss: unknown key 'temperature'"),
    ],
)
def test_impossible_methods_are_told(changes, message):
    with pytest.raises(ValueError, match=message):
        choose_method(loss_values(**changes))


def test_what_is_watched_has_its_alarms():
    for output, with_4d in ((BOTH, True), (BOTH._replace(features_4d=None), False)):
        alarms = choose_alarms(8, with_4d, 0.2, 2.0)
        assert set(alarms) == {name for name in watch(output, None) if "cosine" not in name}
    assert alarms["feature_std_3d"].lowest == pytest.approx(0.2 / 8**0.5)
