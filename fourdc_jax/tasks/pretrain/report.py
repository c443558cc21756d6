"""What a finished pre-training run leaves to look at: pictures and a page."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fourdc_jax.data.grids.voxelization import find_voxels, quantize
from fourdc_jax.data.sequences.batches import Maker
from fourdc_jax.models.backbone import level_strides
from fourdc_jax.models.contrast import FourDContrast
from fourdc_jax.viz.page import Picture, write_page
from fourdc_jax.viz.pictures.features import draw_features
from fourdc_jax.viz.pictures.sequence import draw_sequence
from fourdc_jax.viz.plots.curves import draw_curves

SEQUENCE_CAPTION = (
    "One training sequence before augmentation. The object's colour is the time, yellow to red; "
    "numbered tracks follow single points."
)
FEATURES_CAPTION = (
    "Projections of the 3D encoder for one frame; the three main directions (PCA) as colours."
)


def draw_report(
    model: FourDContrast,
    maker: Maker,
    config: Mapping[str, Any],
    workdir: Path,
    state: Any,
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Writes pictures/ and report.html: curves, one sequence, and the learned features.

    Args:
      model: with no device axis.
      maker: of the training samples; the first one is shown.
      config: plain values, shown on the page.
      workdir: of the run.
      state: with `variables`, as training left it.
      history: the lines of metrics.jsonl.
    """
    folder = workdir / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    sequence, made = maker.sequences.make_sequence(epoch=0, index=0)
    frames, ids = zip(*(sequence.frame(index) for index in range(sequence.num_frames)))
    title = f"{made.shape or 'static'} in {made.scan}"
    healthy = model.encoder_3d.features**-0.5
    spread = {"feature_std_3d": healthy, "feature_std_4d": healthy}
    features = encode_points(
        model, state.variables, frames[0], maker.voxels.voxel_3d, maker.inputs.in_channels
    )
    pictures = [
        Picture(draw_curves(history, folder / "curves.png", collapse=spread), "Training"),
        Picture(
            draw_sequence(
                frames, ids, len(sequence.scene_points), folder / "sequence.png", title=title
            ),
            "A sequence",
            SEQUENCE_CAPTION,
        ),
        Picture(
            draw_features(frames[0], features, folder / "features.png", title=title),
            "Learned features",
            FEATURES_CAPTION,
        ),
    ]
    last = {key: value for key, value in history[-1].items() if value is not None}
    write_page(
        workdir, title="4DContrast pre-training", pictures=pictures, summary=last, config=config
    )


def encode_points(
    model: FourDContrast,
    variables: Mapping[str, Any],
    points: np.ndarray,
    voxel: float,
    in_channels: int,
) -> np.ndarray:
    """Projections [n, c] of the 3D encoder at points [n, 3] in metres, one in each voxel."""
    strides = level_strides(model.encoder_3d.unet.stride)
    coords, rows, capacities = find_voxels(quantize(points, voxel), strides)
    coords = np.insert(coords, 0, 0, axis=1)  # one scan: batch index 0
    encode = partial(model.apply, method=FourDContrast.encode_scan)
    z = jax.jit(lambda variables, *scan: encode(variables, *scan, capacities))(
        variables, jnp.asarray(coords), jnp.ones((len(coords), in_channels))
    )
    return np.asarray(z, np.float32)[rows]
