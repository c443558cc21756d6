"""Loading a backbone: every difference is named, or nothing is loaded."""

import jax.numpy as jnp
import numpy as np
import pytest

from fourdc_jax.train.checkpoints import Checkpoints, Retention
from fourdc_jax.train.state import TrainState, split_variables
from fourdc_jax.train.transfer import transfer


def variables(value, backbone="encoder_3d", head="predictor_3d", width=4):
    stem = {"kernel": jnp.full((3, 2), value)}
    return {
        "params": {backbone: {"stem": stem}, head: {"kernel": jnp.full((2, width), value)}},
        "batch_stats": {backbone: {"mean": jnp.full((2,), value)}},
    }


@pytest.fixture
def source(tmp_path):
    state = TrainState(jnp.int32(1), *split_variables(variables(1.0)), {"x": jnp.zeros(1)})
    with Checkpoints(tmp_path, Retention(1, 0, ""), asynchronous=False) as checkpoints:
        checkpoints.save(1, state, [0], {})
    return tmp_path


def test_an_equal_model_is_loaded_whole(source):
    loaded, result = transfer(variables(0.0), source)
    np.testing.assert_array_equal(loaded["params"]["predictor_3d"]["kernel"], np.ones((2, 4)))
    assert (len(result.loaded), result.skipped, result.new) == (3, [], [])


def test_a_backbone_under_another_name_with_named_differences(source):
    loaded, result = transfer(
        variables(0.0, backbone="backbone", head="classifier"),
        source,
        rename=("encoder_3d=backbone",),
        skip=("predictor_3d/.*",),
        new=("classifier/.*",),
    )
    assert result.loaded == ["batch_stats/backbone/mean", "params/backbone/stem/kernel"]
    assert result.skipped == ["params/predictor_3d/kernel"]
    assert result.new == ["params/classifier/kernel"]
    np.testing.assert_array_equal(loaded["params"]["backbone"]["stem"]["kernel"], np.ones((3, 2)))
    np.testing.assert_array_equal(loaded["batch_stats"]["backbone"]["mean"], np.ones(2))
    np.testing.assert_array_equal(loaded["params"]["classifier"]["kernel"], np.zeros((2, 4)))
    text = result.describe(source)
    assert "loaded 2 arrays: batch_stats/backbone (1), params/backbone (1)" in text
    assert "skipped 1 arrays: params/predictor_3d (1)" in text
    assert "new 1 arrays: params/classifier (1)" in text


def test_unnamed_differences_are_listed_on_both_sides(source):
    with pytest.raises(ValueError, match="does not fit this model") as info:
        transfer(variables(0.0, head="classifier"), source)
    message = str(info.value)
    assert "only in the checkpoint:\n    params/predictor_3d/kernel float32[2, 4]" in message
    assert "only in the model:\n    params/classifier/kernel float32[2, 4]" in message
    with pytest.raises(ValueError, match="only in the model") as info:
        transfer(variables(0.0, head="classifier"), source, skip=(".*3d/.*", "classifier/.*"))
    assert "only in the checkpoint" not in str(info.value)


def test_another_shape_must_be_named(source):
    with pytest.raises(ValueError, match=r"float32\[2, 4\] there, float32\[2, 9\] here"):
        transfer(variables(0.0, width=9), source)
    loaded, result = transfer(variables(0.0, width=9), source, new=("predictor_3d/kernel",))
    assert loaded["params"]["predictor_3d"]["kernel"].shape == (2, 9)
    assert result.skipped == result.new == ["params/predictor_3d/kernel"]


def test_patterns_match_whole_paths_only(source):
    with pytest.raises(ValueError, match="only in the checkpoint"):
        transfer(
            variables(0.0, head="classifier"), source, skip=("predictor",), new=("classifier/.*",)
        )


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (("encoder=backbone",), r"nothing below \['encoder'\]"),
        (("encoder_3d",), "must read 'old/prefix=new/prefix'"),
        (("encoder_3d/stem=predictor_3d",), "gives two arrays the same name"),
    ],
)
def test_wrong_renames_are_told(source, rename, message):
    with pytest.raises(ValueError, match=message):
        transfer(variables(0.0), source, rename=rename)
