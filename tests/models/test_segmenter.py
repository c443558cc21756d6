"""The segmenter: pre-training's places, a frozen backbone, and how far it sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from fourdc_jax.data.grids.grid import Grid
from fourdc_jax.data.scenes.batches import SceneBatch
from fourdc_jax.models.backbone import NetworkParams, receptive_radius
from fourdc_jax.models.segmenter import SegmenterParams, make_segmenter

CLASSES, ROWS = 3, (600, 600, 600, 600, 600)


def build(layers=(1, 0, 0, 0, 0, 0, 0, 0), **changes):
    network = NetworkParams(
        architecture="",
        planes=(4,) * 8,
        layers=layers,
        block="basic",
        stem_channels=4,
        stem_kernel_size=(3, 3, 3),
        kernel_type="hypercube",
        batch_norm_momentum=0.1,
        block_batch_norm_momentum=0.1,
    )
    values = {"freeze_backbone": False, "dtype": "float32", "remat": False, **changes}
    params = SegmenterParams(network_3d=network, **values)
    return make_segmenter(params, CLASSES, ROWS, axis_name=None, implementation="xla")


def build_batch(seed=0, length=500):
    """A beam of voxels along x, and an empty rest."""
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(np.arange(length), [0, 1], indexing="ij"), -1).reshape(-1, 2)
    cells = np.sort(rng.permutation(len(cells))[:590])
    x, y = cells // 2, cells % 2
    coords = np.full((ROWS[0], 4), -(2**30), np.int32)
    coords[:590] = np.stack([0 * x, x - 100, y, 0 * x], axis=1)
    features = np.zeros((ROWS[0], 1), np.float32)
    features[:590] = 1
    grid = Grid(coords, np.array(590, np.int32), features, np.array(ROWS, np.int32))
    return jax.tree.map(jnp.asarray, SceneBatch(grid, np.zeros(ROWS[0], np.int32)))


@pytest.fixture(scope="module")
def variables():
    initialize = jax.jit(lambda batch: build().init(jax.random.key(0), batch, train=True))
    return initialize(build_batch())


def test_parameters_sit_where_pre_training_has_them(variables):
    names = {path[:2] for path in traverse_util.flatten_dict(variables["params"])}
    assert names == {("encoder_3d", "unet"), ("classifier", "kernel"), ("classifier", "bias")}
    assert set(variables["batch_stats"]) == {"encoder_3d"}
    assert variables["params"]["classifier"]["kernel"].shape == (8, CLASSES)  # with the skip


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_backbone_gets_no_gradient_and_keeps_its_statistics(variables, frozen):
    model, batch = build(freeze_backbone=frozen), build_batch()

    def loss(params):
        state = {"params": params, "batch_stats": variables["batch_stats"]}
        output, updates = model.apply(state, batch, train=True, mutable=["batch_stats"])
        return jnp.sum(output.logits**2), updates["batch_stats"]

    gradients, stats = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    backbone = [float(jnp.abs(g).max()) for g in jax.tree.leaves(gradients["encoder_3d"])]
    assert all(g == 0 for g in backbone) == frozen
    assert float(jnp.abs(gradients["classifier"]["kernel"]).max()) > 0
    same = jax.tree.map(lambda a, b: bool((a == b).all()), stats, variables["batch_stats"])
    assert all(jax.tree.leaves(same)) == frozen


def test_scores_are_float32_whatever_the_features_are():
    batch = build_batch()
    model = build(dtype="bfloat16")
    output = jax.eval_shape(
        lambda: model.apply(model.init(jax.random.key(0), batch, train=False), batch, train=False)
    )
    assert output.logits.dtype == jnp.float32
    assert output.logits.shape == (ROWS[0], CLASSES)


def test_nothing_beyond_the_receptive_radius_changes_a_row(variables):
    model, grid = build(), build_batch().grid
    radius = receptive_radius(model.encoder_3d.unet)
    assert radius == 1 + (1 + 2 + 4 + 8) + (8 + 4 + 2 + 1) + 2 * 2
    place = np.asarray(grid.coords[:, 1])
    # A little above the border of a cell of the coarsest level, which then sees it as well.
    changed = jnp.where((place == 148)[:, None], 5.0, grid.features)
    positive = jax.tree.map(jnp.abs, variables)  # no path through the network ends in a ReLU

    @jax.jit
    def run(features):
        batch = SceneBatch(grid._replace(features=features), labels=None)
        return model.apply(positive, batch, train=False).logits

    difference = np.abs(np.asarray(run(grid.features) - run(changed))).max(axis=1)
    far = np.abs(place[difference > 0] - 148).max()
    assert radius / 2 < far <= radius
