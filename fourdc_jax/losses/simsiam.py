"""The three losses of 4DContrast (equations 3 to 9) on features gathered at tracks.

A track is one physical point followed through the frames of a sequence. Frame i of track a has a
projection z and a prediction p from each network; two frames of one track are a positive pair.
Every term is a (sum, count) pair of float32 scalars, so that terms add up over devices and are
divided once. The paper writes sums; what they are divided by is the caller's choice, see
`Reduction`.
"""

from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Float32

from fourdc_jax.losses.term import Term

Reduction = Literal["pairs", "sequences"]
"""What a sum is divided by: "pairs", every pair of features weighs the same whatever the scan and
the number of tracks; "sequences", the printed sum over pairs, averaged over the sequences."""

StopGradient = Literal["prediction", "projection"]
"""The constant side of equation 5: "prediction" as printed, "projection" as in SimSiam."""

# Square of the smallest norm that is divided by, as in torch.nn.functional.cosine_similarity.
MIN_SQUARE_NORM = 1e-16


def frame_pair_loss(
    p: Float[Array, "b m t c"],
    z: Float[Array, "b m t c"],
    present: Bool[Array, "b m t"],
    reduction: Reduction,
) -> Term:
    """Equations 3 and 4, or 7 and 8: predict every frame's projection from every other frame.

    Sum over frame pairs i < j and tracks a present in both of
    1/2 D(p_ia, SG(z_ja)) + 1/2 D(p_ja, SG(z_ia)), with D the negative cosine similarity.
    """
    weights = present.astype(jnp.float32)  # (b, m, t)
    p = normalize(p) * weights[..., None]
    z = lax.stop_gradient(normalize(z) * weights[..., None])
    # The double sum over i != j factorises: all pairs less the frames paired with themselves.
    all_pairs = jnp.sum(jnp.sum(p, axis=2) * jnp.sum(z, axis=2))
    same_frame = jnp.sum(p * z)
    frames = jnp.sum(weights, axis=2)  # (b, m)
    pairs = jnp.sum(frames * (frames - 1)) / 2
    return _reduce(-(all_pairs - same_frame) / 2, pairs, present, reduction)


def cross_network_loss(
    p_3d: Float[Array, "b m t c"],
    z_3d: Float[Array, "b m t c"],
    p_4d: Float[Array, "b m t c"],
    z_4d: Float[Array, "b m t c"],
    present: Bool[Array, "b m t"],
    reduction: Reduction,
    stop_gradient: StopGradient,
) -> Term:
    """Equations 5 and 6: in every frame, tie each network's projection to the other's prediction.

    Sum over frames i and tracks a of 1/2 D(SG(p3D_ia), z4D_ia) + 1/2 D(SG(p4D_ia), z3D_ia). As
    printed the prediction is the constant, so that the predictors receive no gradient here;
    "projection" is SimSiam's direction, 1/2 D(p3D_ia, SG(z4D_ia)) + 1/2 D(p4D_ia, SG(z3D_ia)).
    """
    weights = present.astype(jnp.float32)[..., None]  # (b, m, t, 1)
    p_3d, z_3d, p_4d, z_4d = (normalize(x) for x in (p_3d, z_3d, p_4d, z_4d))
    if stop_gradient == "prediction":
        p_3d, p_4d = lax.stop_gradient((p_3d, p_4d))
    else:
        z_3d, z_4d = lax.stop_gradient((z_3d, z_4d))
    similarity = jnp.sum((p_3d * z_4d + p_4d * z_3d) * weights)
    return _reduce(-similarity / 2, jnp.sum(weights), present, reduction)


def normalize(x: Float[Array, "... c"]) -> Float32[Array, "... c"]:
    """x divided by its Euclidean norm over the last axis; a zero vector stays zero."""
    x = x.astype(jnp.float32)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * lax.rsqrt(jnp.maximum(square, MIN_SQUARE_NORM))


def _reduce(total, pairs, present, reduction):
    count = pairs if reduction == "pairs" else jnp.float32(present.shape[0])
    return Term(total, count)


def feature_std(
    z: Float[Array, "b m t c"], present: Bool[Array, "b m t"], axis_name: str | None
) -> Term:
    """Standard deviation of the normalised features, averaged over channels: SimSiam's alarm.

    Close to 1 / sqrt(c) where features spread over the sphere, 0 where they have collapsed to one
    point (Chen and He, 2021, section 4.1). Taken over all devices of `axis_name`, equal on each,
    with count 1, so that dividing the sums over devices leaves it as it is; count 0 without tracks.
    """
    covariance, counted = _covariance(z, present, axis_name)
    variances = jnp.sum(covariance * jnp.eye(len(covariance)), axis=0)  # (c,), without a gather
    return Term(jnp.mean(jnp.sqrt(jnp.maximum(variances, 0))), counted)


def feature_rank(
    z: Float[Array, "b m t c"], present: Bool[Array, "b m t"], axis_name: str | None
) -> Term:
    """How many directions the normalised features use: (tr C)^2 / tr C^2 of their covariance C.

    c where all directions have equal variance, 1 where all features lie on a line. `feature_std`
    does not see such a dimensional collapse: two opposite points already have its best value. Over
    devices as `feature_std`.
    """
    covariance, counted = _covariance(z, present, axis_name)
    square = jnp.maximum(jnp.sum(covariance**2), MIN_SQUARE_NORM)
    return Term(jnp.trace(covariance) ** 2 / square, counted)


def _covariance(z, present, axis_name):
    """Of the normalised features over all devices, [c, c]; and 1, or 0 where there are none."""
    weights = present.astype(jnp.float32)[..., None]
    unit = lax.stop_gradient(normalize(z)) * weights
    unit = unit.reshape(-1, unit.shape[-1])  # (tracks, c)
    products = jnp.matmul(unit.T, unit, precision="highest")  # rounded inputs would hide a collapse
    count, total = jnp.sum(weights), jnp.sum(unit, axis=0)
    if axis_name is not None:
        count, total, products = lax.psum((count, total, products), axis_name)
    number = jnp.maximum(count, 1)
    return products / number - jnp.outer(total, total) / number**2, jnp.minimum(count, 1)
