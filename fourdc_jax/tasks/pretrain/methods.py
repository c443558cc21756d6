"""Methods of pre-training: the loss terms on features at tracks, and what to watch and to warn of.

Another method is a loss in `fourdc_jax.losses`, a case in `choose_method`, and a config.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fourdc_jax.losses.simsiam import (
    Reduction,
    StopGradient,
    cross_network_loss,
    feature_rank,
    feature_std,
    frame_pair_loss,
)
from fourdc_jax.losses.term import Term
from fourdc_jax.models.contrast import ContrastOutput, TrackFeatures
from fourdc_jax.params import read_params
from fourdc_jax.train.task import Alarm, StepContext

T = TypeVar("T")

COLLAPSED = "COLLAPSE? the features no longer tell points apart,"

# (features of both networks, where in the training) -> each term's (sum, count) of this device
Terms = Callable[[ContrastOutput, StepContext], dict[str, Term]]


@dataclass(frozen=True)
class Method:
    """What a method makes of the networks' features.

    Attributes:
      terms: of the loss.
      weights: of the terms, by the same names.
      with_4d: whether any term needs the 4D network.
    """

    terms: Terms
    weights: Mapping[str, float]
    with_4d: bool


def choose_method(values: Mapping[str, Any]) -> Method:
    """The method that `config.loss` describes, as plain values.

    Raises:
      ValueError: there is no such method, or its parameters cannot be.
    """
    match values.get("method"):
        case "4dcontrast":
            return four_d_contrast(read_method(FourDContrastParams, values))
        case name:
            raise ValueError(f"config.loss.method is {name!r}; there is '4dcontrast'")


def read_method(cls: type[T], values: Mapping[str, Any]) -> T:
    """A method's parameters: all of `config.loss` but its name."""
    return read_params(cls, {k: v for k, v in values.items() if k != "method"}, "config.loss")


@dataclass(frozen=True)
class FourDContrastParams:
    """Equation 9: the weights of its three terms, and what the paper leaves open about them.

    weight_3d, weight_3d4d, weight_4d: 0 leaves the term out, and the 4D network with the last.
    reduction: what the printed sums are divided by, see `fourdc_jax.losses.simsiam.Reduction`.
    stop_gradient_3d4d: the constant side of equation 5, see `StopGradient` there.
    """

    weight_3d: float
    weight_3d4d: float
    weight_4d: float
    reduction: Reduction
    stop_gradient_3d4d: StopGradient

    def __post_init__(self) -> None:
        """Raises ValueError where the weights are negative or leave the 3D encoder untrained."""
        weights = (self.weight_3d, self.weight_3d4d, self.weight_4d)
        if min(weights) < 0:
            raise ValueError(
                f"config.loss: the weights {', '.join(map(str, weights))} must not be negative."
            )
        if self.weight_3d == 0 and self.weight_3d4d == 0:
            raise ValueError(
                "config.loss: with weight_3d and weight_3d4d both 0 nothing trains the 3D encoder; "
                "give one of them a weight."
            )


def four_d_contrast(params: FourDContrastParams) -> Method:
    """4DContrast, section 3."""
    weights = {
        "loss_3d": params.weight_3d,
        "loss_3d4d": params.weight_3d4d,
        "loss_4d": params.weight_4d,
    }
    return Method(
        terms=partial(four_d_contrast_terms, params),
        weights={name: weight for name, weight in weights.items() if weight != 0},
        with_4d=params.weight_3d4d != 0 or params.weight_4d != 0,
    )


def four_d_contrast_terms(
    params: FourDContrastParams, output: ContrastOutput, at: StepContext
) -> dict[str, Term]:
    """The terms of equation 9 that are on."""
    del at  # the same in every step
    in_3d, in_4d = output.features_3d, output.features_4d
    terms = {}
    if params.weight_3d:
        terms["loss_3d"] = frame_pair_loss(*in_3d, params.reduction)
    if params.weight_3d4d:
        present = in_3d.present & in_4d.present
        features = (in_3d.p, in_3d.z, in_4d.p, in_4d.z, present)
        options = (params.reduction, params.stop_gradient_3d4d)
        terms["loss_3d4d"] = cross_network_loss(*features, *options)
    if params.weight_4d:
        terms["loss_4d"] = frame_pair_loss(*in_4d, params.reduction)
    return terms


def watch(output: ContrastOutput, axis_name: str | None) -> dict[str, Term]:
    """What is logged of every method's features."""
    watched = watch_features("3d", output.features_3d, axis_name)
    if output.features_4d is not None:
        watched |= watch_features("4d", output.features_4d, axis_name)
    return watched


def watch_features(name: str, features: TrackFeatures, axis_name: str | None) -> dict[str, Term]:
    """The projections' spread and rank, and their cosine between the frames of a track.

    Learning shows as a cosine near 1 while the spread stays near 1 / sqrt(c) and the rank well
    above 1. A spread near 0 is the collapse to a point, a rank near 1 that to a line.
    """
    negative = frame_pair_loss(features.z, features.z, features.present, "pairs")
    return {
        f"feature_std_{name}": feature_std(features.z, features.present, axis_name),
        f"feature_rank_{name}": feature_rank(features.z, features.present, axis_name),
        f"cosine_{name}": Term(-negative.sum, negative.count),
    }


def choose_alarms(
    channels: int, with_4d: bool, collapse_fraction: float, collapse_rank: float
) -> dict[str, Alarm]:
    """Lowest healthy spread and rank of each network's projections.

    SimSiam's collapse shows as a standard deviation of the L2-normalised features near 0 instead of
    1 / sqrt(d) (Chen and He, Exploring Simple Siamese Representation Learning, 2021, section 4.1);
    features that fill one direction only have a healthy spread, and a rank near 1.

    Args:
      channels: d, of the projections.
      with_4d: whether there is a 4D network.
      collapse_fraction: lowest healthy part of 1 / sqrt(d).
      collapse_rank: lowest healthy rank.
    """
    point = Alarm(collapse_fraction / channels**0.5, f"{COLLAPSED} they lie near one point")
    line = Alarm(collapse_rank, f"{COLLAPSED} they lie near one line")
    networks = ("3d", "4d") if with_4d else ("3d",)
    return {
        f"feature_{what}_{name}": alarm
        for name in networks
        for what, alarm in (("std", point), ("rank", line))
    }
