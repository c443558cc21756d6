"""What stops a run, and what rings the alarm."""

import dataclasses

import numpy as np
import pytest

from fourdc_jax.train.health import Alarms, TrainingStopped, check_equal, check_finite, check_limits
from fourdc_jax.train.step import StepOutcome
from fourdc_jax.train.task import Alarm

HEALTHY = StepOutcome(
    total=np.float32(1.0),
    terms={"fit": np.float32(0.5), "size": np.float32(0.5)},
    counts={"fit": np.float32(3.0), "size": np.float32(3.0)},
    metrics={"empty": np.float32(np.nan)},
    limits={"rows": (np.int32(9), np.int32(9))},
    learning_rate=np.float32(0.1),
    gradient_norm=np.float32(2.0),
    finite={"batch_stats": np.bool_(True), "queue": np.bool_(True)},
    equal={"batch_stats": np.bool_(True), "queue": np.bool_(True)},
    stop_requests=np.int32(0),
)


def test_a_healthy_step_passes():
    check_finite(3, HEALTHY)  # a metric over nothing is no illness
    check_limits(3, HEALTHY, {})
    check_equal(3, HEALTHY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terms": {"fit": np.float32(np.inf)}}, "step 3: loss term 'fit' is inf"),
        ({"gradient_norm": np.float32(np.nan)}, "step 3: the gradient's norm is nan"),
        ({"finite": {"queue": np.bool_(False)}}, "step 3: the collection 'queue' is not finite"),
    ],
)
def test_what_is_not_finite_is_named(changes, message):
    with pytest.raises(TrainingStopped, match=message):
        check_finite(3, dataclasses.replace(HEALTHY, **changes))


def test_what_differs_between_devices_is_named():
    outcome = dataclasses.replace(HEALTHY, equal={"queue": np.bool_(False)})
    with pytest.raises(TrainingStopped, match="step 3: the collection 'queue' differs between dev"):
        check_equal(3, outcome)


def test_every_exceeded_limit_is_named_with_its_hint():
    limits = {"rows": (np.int32(10), np.int32(9)), "duplicates": (np.int32(1), np.int32(0))}
    outcome = dataclasses.replace(HEALTHY, limits=limits)
    with pytest.raises(TrainingStopped) as info:
        check_limits(3, outcome, {"rows": "Set config.capacity to 10."})
    assert str(info.value) == (
        "step 3: duplicates needed 1 but has 0. Raise the config value that sets duplicates. "
        "rows needed 10 but has 9. Set config.capacity to 10."
    )


def test_alarms_ring_below_the_threshold_only():
    low = Alarm(0.1, "the features lie near one point")
    alarms = Alarms({"feature_std_3d": low, "feature_std_4d": low})
    assert alarms.warnings(1, {"feature_std_3d": 0.1, "feature_std_4d": np.nan}) == []
    (message,) = alarms.warnings(2, {"feature_std_3d": 0.05, "feature_std_4d": 0.2})
    assert message == "step 2: feature_std_3d is 0.05, below 0.1: the features lie near one point"
    assert alarms.counts == {"feature_std_3d": 1, "feature_std_4d": 0}
