"""From a .pth file to a folder that `--config.init` loads."""

import argparse
import re

import jax
import numpy as np
import pytest
from fixtures.commands import run_here
from fourdc_jax.configs.segmentation import get_config
from oracles.minkowski import random_state_dict
from oracles.torch_save import save_archive, save_stream

from fourdc_jax.models.published.minkowski import convert
from fourdc_jax.tasks.segmentation.params import read_segmentation_params
from fourdc_jax.tasks.shared.backbone import check_backbone
from fourdc_jax.train.run_config import read_config
from fourdc_jax.train.transfer import transfer


@pytest.fixture(scope="module")
def arrays():
    return random_state_dict(np.random.default_rng(0), planes=(4,) * 8, layers=(1,) * 8)


@pytest.mark.parametrize("save", [save_archive, save_stream])
def test_a_file_becomes_a_checkpoint_to_start_from(save, arrays, tmp_path):
    path, out = tmp_path / "weights.pth", tmp_path / "converted"
    content = {"curr_iter": 3, "state_dict": arrays, "config": argparse.Namespace(lr=0.1)}
    save(content | {"best": np.zeros(2, np.float32)}, path)
    done = run_here("convert_checkpoint", f"--input={path}", f"--out={out}")
    assert done.code == 0, done.err
    printed = done.out
    assert "stem kernel 3, input channels 3, final channels 2" in printed
    assert "left over 0 arrays\n  missing 0 arrays\n" in printed
    assert f"--config.init={out}" in printed

    expected = convert(arrays, block_kernels="hybrid").variables
    fresh = jax.tree.map(np.zeros_like, expected)
    started, result = transfer(fresh, out)
    assert (result.skipped, result.new) == ([], [])
    jax.tree.map(np.testing.assert_array_equal, started, expected)

    here = get_config()
    params = read_segmentation_params(here.to_dict())
    values = (params.model.network_3d, params.data.voxels, here.init, read_config(out), str(out))
    with pytest.raises(ValueError, match=r"another network, planes \(4, .* there and \(32, 64"):
        check_backbone(*values)

    done = run_here("convert_checkpoint", f"--input={path}", f"--out={out}")
    assert done.code == 1
    assert "holds checkpoints already: name a new folder" in done.err


def test_what_is_left_over_and_missing_is_printed(arrays, tmp_path):
    path = tmp_path / "weights.pth"
    content = {name: a for name, a in arrays.items() if name != "final.bias"}
    save_archive(content | {"offset.kernel": np.zeros(3, np.float32)}, path)
    done = run_here("convert_checkpoint", f"--input={path}", f"--out={tmp_path / 'out'}")
    assert done.code == 0, done.err
    printed = done.out
    assert "left over 1 arrays: offset.kernel\n" in printed
    assert "missing 1 arrays: params/encoder_3d/projection/bias\n" in printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "model": {}}, "must hold a state dict, alone or as 'state_dict', .* epoch"),
        ({"state_dict": argparse.Namespace()}, "as 'state_dict', but it holds state_dict; save"),
        (argparse.Namespace(), "whole object of Python code"),
        ({"state_dict": {"a": np.zeros(3, np.float32)}}, "one conv0p1s1.kernel is expected; it"),
        (None, "No such file"),
    ],
)
def test_unusable_files_are_one_clear_sentence(content, message, tmp_path):
    path = tmp_path / "weights.pth"
    if content is not None:
        save_archive(content, path)
    done = run_here("convert_checkpoint", f"--input={path}", f"--out={tmp_path / 'out'}")
    assert done.code == 1
    error = done.err
    assert str(path) in error
    assert re.search(message, error)
    assert not (tmp_path / "out").exists()
