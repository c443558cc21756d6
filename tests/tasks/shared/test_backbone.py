"""What another run's U-Net must share with this one's, from the two configs alone."""

import pytest
from fourdc_jax.configs.common import init
from fourdc_jax.configs.pretrain import get_config as pretraining
from fourdc_jax.configs.segmentation import get_config as fine_tuning

from fourdc_jax.data.scenes.samples import VoxelParams
from fourdc_jax.models.backbone import NetworkParams
from fourdc_jax.params import read_params
from fourdc_jax.tasks.shared.backbone import STEM, check_backbone, check_frozen


def check(there, features="constant", changes=None, **values):
    """Whether the demo's network can start from a run with that config."""
    network = fine_tuning("demo").model.network_3d.to_dict() | (changes or {})
    params = read_params(NetworkParams, network, "here")
    check_backbone(params, VoxelParams(0.1, features), init(**values), there, "runs/theirs")


THEIRS = pretraining("demo").to_dict()


def test_the_demos_fit_and_so_does_another_fine_tuning_run():
    check(THEIRS)
    check(fine_tuning("demo").to_dict())


@pytest.mark.parametrize(
    ("there", "changes", "message"),
    [
        (THEIRS, {"stem_channels": 8}, "another network, stem_channels 16 there and 8 here: set"),
        (THEIRS, {"block": "bottleneck"}, "block basic there and bottleneck here"),
        ({"model": {}}, {}, "runs/theirs is no run with a 3D network"),
        ({}, {}, "runs/theirs is no run with a 3D network"),
    ],
)
def test_another_network_is_told_with_both_values(there, changes, message):
    with pytest.raises(ValueError, match=message):
        check(there, changes=changes)


def test_other_input_channels_must_be_named():
    with pytest.raises(ValueError, match=r"trained on 1 input channels and .* 'color' has 3"):
        check(THEIRS, "color")
    check(THEIRS, "color", new=(STEM,))
    check(THEIRS, "color", skip=("encoder_3d/unet/stem.*",))


def test_a_backbone_that_stays_must_come_from_somewhere_whole():
    values = init()
    with pytest.raises(ValueError, match=r"without config\.init that is random"):
        check_frozen(values)
    values.source = "runs/theirs"
    check_frozen(values)
    values.new = (STEM,)
    with pytest.raises(ValueError, match="leave its first layer random"):
        check_frozen(values)
