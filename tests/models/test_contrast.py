"""Which networks each loss term trains (figure 3), and what the model reads where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fourdc_jax.data.grids.grid import make_grid
from fourdc_jax.data.sequences.batches import SequenceBatch
from fourdc_jax.data.sequences.samples import View
from fourdc_jax.losses.simsiam import cross_network_loss, frame_pair_loss
from fourdc_jax.models.backbone import NetworkParams
from fourdc_jax.models.contrast import ContrastParams, make_contrast
from fourdc_jax.models.heads import Predictor
from fourdc_jax.sparse.gather import gather_rows

SEQUENCES, FRAMES, TRACKS = 2, 3, 20


def tiny_network(stem_kernel_size):
    return NetworkParams(
        architecture="",
        planes=(3,) * 8,
        layers=(1, 0, 0, 0, 0, 0, 0, 0),
        block="basic",
        stem_channels=3,
        stem_kernel_size=stem_kernel_size,
        kernel_type="hypercube",
        batch_norm_momentum=0.1,
        block_batch_norm_momentum=0.1,
    )


def tiny_params(**changes):
    values = {
        "network_3d": tiny_network((3, 3, 3)),
        "network_4d": tiny_network((3, 3, 3, 1)),
        "features": 6,
        "projection_batch_norm": False,
        "predictor_hidden": 4,
        "dtype": "float32",
        "remat": False,
    }
    return ContrastParams(**(values | changes))


def random_grid(rng, items, columns, tracks_per_item):
    """Sorted unique coordinates with the batch index first, and rows of tracks in every item."""
    coords = rng.integers(-6, 6, (400, columns))
    coords[:, 0] = rng.integers(0, items, 400)
    coords = np.unique(coords, axis=0).astype(np.int32)
    rows = [rng.choice(np.flatnonzero(coords[:, 0] == i), tracks_per_item) for i in range(items)]
    return coords, np.stack(rows).astype(np.int32)


def make_batch(seed=0):
    rng = np.random.default_rng(seed)
    coords_3d, rows_3d = random_grid(rng, SEQUENCES * FRAMES, 4, TRACKS)
    tracks_3d = rows_3d.reshape(SEQUENCES, FRAMES, TRACKS).transpose(0, 2, 1)
    coords_4d, rows_4d = random_grid(rng, SEQUENCES, 5, TRACKS * FRAMES)
    coords_4d[:, 4] %= FRAMES
    coords_4d = np.unique(coords_4d, axis=0)
    tracks_4d = rows_4d.reshape(SEQUENCES, TRACKS, FRAMES) % len(coords_4d)
    absent = rng.random(tracks_3d.shape) < 0.2

    def see(coords, tracks):
        grid = make_grid(coords, np.ones((len(coords), 1), np.float32), (len(coords),) * 5)
        return View(grid, np.where(absent, -1, tracks).astype(np.int32))

    batch = SequenceBatch(see(coords_3d, tracks_3d), see(coords_4d, tracks_4d))
    return jax.tree.map(jnp.asarray, batch)


def make_model(batch, *, with_4d=True, **changes):
    capacities = [(len(view.grid.coords),) * 5 for view in batch]
    return make_contrast(
        tiny_params(**changes),
        *capacities,
        with_4d=with_4d,
        stride_time=True,
        axis_name=None,
        implementation="auto",
    )


@pytest.fixture(scope="module")
def differentiated():
    """Gradients of every term with respect to all parameters, and the output."""
    batch = make_batch()
    model = make_model(batch)
    variables = jax.jit(lambda key: model.init(key, batch, train=True))(jax.random.key(0))

    def weighted(params, weights):
        output, _ = model.apply(
            {**variables, "params": params}, batch, train=True, mutable=["batch_stats"]
        )
        in_3d, in_4d = output.features_3d, output.features_4d
        cross = (in_3d.p, in_3d.z, in_4d.p, in_4d.z, in_3d.present, "pairs")
        terms = {
            "3d": frame_pair_loss(*in_3d, "pairs").sum,
            "4d": frame_pair_loss(*in_4d, "pairs").sum,
            "3d4d": cross_network_loss(*cross, "prediction").sum,
            "3d4d projection": cross_network_loss(*cross, "projection").sum,
        }
        return sum(weights[name] * term for name, term in terms.items()), output

    differentiate = jax.jit(jax.grad(weighted, has_aux=True))
    names = ("3d", "4d", "3d4d", "3d4d projection")
    gradients = {}
    for term in names:
        weights = {name: jnp.float32(name == term) for name in names}
        gradients[term], output = differentiate(variables["params"], weights)
    return gradients, output


@pytest.mark.parametrize(
    ("term", "trained"),
    [
        ("3d", {"encoder_3d", "predictor_3d"}),
        ("4d", {"encoder_4d", "predictor_4d"}),
        ("3d4d", {"encoder_3d", "encoder_4d"}),  # as printed: predictions are constants
        ("3d4d projection", {"encoder_3d", "predictor_3d", "encoder_4d", "predictor_4d"}),
    ],
)
def test_each_term_trains_the_networks_of_figure_3(differentiated, term, trained):
    gradients, _ = differentiated
    for module, gradient in gradients[term].items():
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))
        assert (largest > 1e-6) == (module in trained), (module, largest)


def test_features_are_read_at_tracks(differentiated):
    _, output = differentiated
    batch = make_batch()
    for tracks, features in (
        (batch.frames.tracks, output.features_3d),
        (batch.sequence.tracks, output.features_4d),
    ):
        assert features.p.shape == features.z.shape == (*tracks.shape, 6)
        np.testing.assert_array_equal(features.present, tracks >= 0)
        assert not np.asarray(features.z)[tracks < 0].any()
        assert len(np.unique(np.asarray(features.z)[tracks >= 0], axis=0)) > 20


def test_limits_tell_both_networks_apart(differentiated):
    _, output = differentiated
    levels = [f"rows_level_{level}_{name}" for level in range(1, 5) for name in ("3d", "4d")]
    assert set(output.limits) == {"duplicate_coordinates_3d", "duplicate_coordinates_4d", *levels}
    assert all(needed <= available for needed, available in output.limits.values())


def parameter_paths(model, batch):
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), batch, train=True))
    return variables["params"]


def test_without_4d_terms_there_is_no_4d_network():
    batch = make_batch()
    params = parameter_paths(make_model(batch, with_4d=False), batch)
    assert set(params) == {"encoder_3d", "predictor_3d"}


def test_encoder_parameters_sit_under_one_name():
    batch = make_batch()
    params = parameter_paths(make_model(batch), batch)
    assert set(params) == {"encoder_3d", "predictor_3d", "encoder_4d", "predictor_4d"}
    assert set(params["encoder_3d"]) == {"unet", "projection"}
    assert "stage1_block1" in params["encoder_3d"]["unet"]


def test_remat_and_batch_norm_keep_the_names():
    batch = make_batch()
    plain = parameter_paths(make_model(batch), batch)
    remat = parameter_paths(make_model(batch, remat=True), batch)
    assert jax.tree.structure(plain) == jax.tree.structure(remat)
    normalized = parameter_paths(make_model(batch, projection_batch_norm=True), batch)
    assert set(normalized["encoder_3d"]["projection"]) == {"kernel"}  # the norm takes the bias away


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "Res16UNet34C"}, "leave one of them empty"),
        ({"planes": (4,) * 7}, "7 planes"),
        ({"stem_kernel_size": (3, 3)}, "stem_kernel_size"),
    ],
)
def test_impossible_networks_are_told(changes, message):
    network = NetworkParams(**(tiny_network((3, 3, 3)).__dict__ | changes))
    with pytest.raises(ValueError, match=message):
        make_model(make_batch(), network_3d=network)


def test_predictor_on_wanted_rows_equals_predictor_on_all_rows():
    z = jax.random.normal(jax.random.key(0), (30, 6)).at[25:].set(0)
    predictor = Predictor(hidden=4, batch_norm_momentum=0.1)
    every = jnp.arange(30, dtype=jnp.int32)
    wanted = jnp.asarray([[3, 3, 7], [24, -1, 0]], jnp.int32)
    variables = predictor.init(jax.random.key(1), z, jnp.int32(25), every, train=True)

    def predict(rows):
        args = (variables, z, jnp.int32(25), rows)
        return predictor.apply(*args, train=True, mutable=["batch_stats"])[0]

    np.testing.assert_allclose(
        predict(wanted)[wanted >= 0], gather_rows(predict(every), wanted)[wanted >= 0], atol=1e-6
    )
