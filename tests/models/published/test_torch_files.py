"""Files of PyTorch are read without it, and cannot run anything."""

import argparse
import base64
import collections
import os
import pickle
import zlib

import numpy as np
import pytest
from oracles.torch_save import save_archive, save_stream

from fourdc_jax.models.published.torch_files import Placeholder, read_torch_file, rebuild_tensor

SAVES = [save_archive, save_stream]

# What PyTorch 2.13 wrote, in both formats, for {"state_dict": OrderedDict(a=[[0, 1, 2], [3, 4, 5]]
# (float32), b=a.t(), n=5 (int64)), "epoch": 3}.
ARCHIVE = (
    "eNq1Vc9r01Acf0nWtIubdptuq845EKQbW5d0aZeCY6NILxFWK0L1ErI0tsGs6UteJw6Egjjwpp4EQT36H+hN8D/Y3ZsH"
    "2cl/wfeSrryktOsGPvLyoPl+fqTfHymr3BgAiQToW9MgCbx93ba1Q6u1XtORnmk9s0vFCfCEWh32JQTpqoABHtKRqdUs"
    "A0HGMBzbNg1kOU1P2HVrpmvW7uEnAmSXK5BLVxkM0OGYgRzXaGS0NrJsT9Bcc69t2TUNmU3PcbWDrABj6XQ17rM7rl43"
    "IR9AhJLt6Ohh8KMA4z6hCBNVDp9Gqw3HVR5B4YEKVFbljuAllVOZIzjxpkEMTCJ4uQKv+KA9mGxgkQbfCEgkONXwwdME"
    "zKnsEZxRGcJxNQBfQ3C2Auf84CacD8BdV/edZr1nKuWHZOF1zMcgeAPzLS8HHAsI3qzAxXY1hiPMlmM04C2Va2fKajwh"
    "/PjY2cVIsssD05MCK1R6Mk8dd19H2oHpevg/LxXvhLI0eElE8dvfX6+IVbIHKy6AHK3YTYim21a9uW82UakojShKrbxM"
    "DGw/hycslmCHGpgBW5SBvRfIdEhllYqF8+ueLttCyDaJh9dbv1M8VuGHekiCu5GuWBdLReXCBgLWzja+7eAL7w7eX3aI"
    "o7m3f97N4wfzZzhaiTqSRs//f9HPjq4f67IQvcnjn2tEIDFUbwoUKL1eweculoINgSgff6o/Orv+loBIN4D/qp7pWrgD"
    "DnUy6jSrViqunsuIqMgFWVEUebOQz4mysrmRE8W8XFDEnJTLytmCtCErUt5v05PbxlYa+0j7LhlitueTHhrTfc7753gU"
    "T4+AVAj7mQGDB02Uhm7khXDaWDB0ekSZ6HacCTG9DzH1xkCUgK7eZIhglgN9PTw6+ms/Woqi6UoOo9NjfehsFE1X41QI"
    "/SGEHpADukyWwp/0GDizgMsqz6924xe5tR52PHI+ZoPze+y0gfm4n+eui+BbEuMDzLgfH8T+A/UQ0wc="
)
STREAM = (
    "eNqFkctu00AUhm2P47QDLaWUS7mVpbOJ0iRN3RVdoG6Ga9jMBlmuPaqNLE/O+LhSK1XKKgKegQVLXo1HQGLBsR1QkSIx"
    "movmnJnv/+fM3PnC819fT34++/j97W5/7rz6wWi+AsuXW5ZlzYxGHes8PFemzHQBNh2QG5TJM8RchapIsqgA55PkFMSL"
    "mQrL7FKVwK7A9WWHgmWqDUJHOJLRLisQPOFKt2bo4gy6wq2qP5o1pMQIVZhkMYIdk3auYiTpkr8xiTIqeUEZDk5vCsyX"
    "Nl2IwI1RmzjthxVmeclDo06rLE9CVEWpTXg+5NDxfdlt6NpEZwq89go/yXWE79sgh67cpDNHoyA4PBoMh+PRYBDAWmM8"
    "nlWwLrzXCPydsIQj2AJuCCbsBdz8nNZ2NhA2p3Cr8XQKWylJpl76D3J0uB/sTwZwO21R2zWKCWcBd4RdE3da1F2Ee1O4"
    "36AKeNCilo5fUtX+Gt69Th+PJwcHkwAeEt0m+iOi93ot8THCkyk8rZovUTMdp7AnWF34D3XhVzzbXmXcWaXHVN+zrrf5"
    "c5qOqdOY0/h2/L+8vcx0lutv+/Gg4w=="
)


@pytest.mark.parametrize("encoded", [ARCHIVE, STREAM])
def test_files_of_pytorch_itself(encoded, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(zlib.decompress(base64.b64decode(encoded)))
    content = read_torch_file(path)
    assert content["epoch"] == 3
    state = content["state_dict"]
    assert [*state] == ["a", "b", "n"]
    np.testing.assert_array_equal(state["a"], np.float32([[0, 1, 2], [3, 4, 5]]))
    np.testing.assert_array_equal(state["b"], state["a"].T)
    assert (state["a"].dtype, state["n"].dtype, state["n"].shape) == (np.float32, np.int64, ())
    assert state["n"] == 5


@pytest.mark.parametrize("save", SAVES)
def test_tensors_come_back_and_configs_become_placeholders(save, tmp_path):
    rng = np.random.default_rng(0)
    state = collections.OrderedDict(
        weight=rng.normal(size=(27, 3, 4)).astype(np.float32),
        count=np.array(2**40),
        nothing=np.zeros((0, 3), np.float32),
    )
    save(
        {"state_dict": state, "config": argparse.Namespace(lr=0.1), "kept": {1, 2}}, tmp_path / "x"
    )
    content = read_torch_file(tmp_path / "x")
    assert [*content["state_dict"]] == [*state]
    for name, array in state.items():
        np.testing.assert_array_equal(content["state_dict"][name], array)
        assert content["state_dict"][name].dtype == array.dtype
    assert isinstance(content["config"], Placeholder)
    assert vars(content["config"]) == {}
    assert content["kept"] == {1, 2}


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("function", [os.mkdir, eval, pickle.loads])
def test_code_is_refused_and_does_not_run(save, function, tmp_path):
    made = tmp_path / "made"
    argument = str(made) if function is os.mkdir else f"open({str(made)!r}, 'w')"
    save({"state_dict": Attack(function, argument)}, tmp_path / "x.pth")
    with pytest.raises(
        ValueError, match=f"x.pth is not loaded: it names .*{function.__name__}.* run code"
    ):
        read_torch_file(tmp_path / "x.pth")
    assert not made.exists()


@pytest.mark.parametrize("save", SAVES)
def test_a_cut_or_changed_file_is_told(save, tmp_path):
    path = tmp_path / "x.pth"
    save({"a": np.arange(1000, dtype=np.float32)}, path)
    whole = path.read_bytes()
    for damaged in (whole[:-500], whole[:100], b"", b"<html>not found</html>"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x.pth cannot be read as a PyTorch checkpoint"):
            read_torch_file(path)


def test_an_unsupported_kind_of_tensor_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("oracles.torch_save.STORAGES", {np.dtype(np.float32): "BFloat16Storage"})
    save_archive({"a": np.zeros(3, np.float32)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="not read, such as bfloat16"):
        read_torch_file(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [(0, (7,), (1,)), (1, (6,), (1,)), (0, (2, 3), (4, 1)), (-1, (2,), (1,)), (3, (2,), (-1,))],
)
def test_a_view_outside_its_storage_is_refused(offset, shape, stride):
    with pytest.raises(ValueError, match="outside its storage"):
        rebuild_tensor(np.zeros(6, np.float32), offset, shape, stride)


def test_views_share_and_stride():
    storage = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(rebuild_tensor(storage, 1, (2, 2), (1, 2)), [[1, 3], [2, 4]])
    np.testing.assert_array_equal(rebuild_tensor(storage, 5, (), ()), 5)
    np.testing.assert_array_equal(rebuild_tensor(storage, 5, (3,), (0,)), [5, 5, 5])
