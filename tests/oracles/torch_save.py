"""Writes files as `torch.save` does, in both of its formats, without torch."""

import collections
import io
import pickle
import sys
import types
import zipfile
from unittest import mock

import numpy as np

STORAGES = {np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}


def fake_modules():
    """Modules in which pickle finds the names it writes."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in (*STORAGES.values(), "BFloat16Storage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2():
        raise NotImplementedError

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    return {"torch": torch, "torch._utils": utils}


class Storage:
    def __init__(self, key, array, kind):
        self.key, self.array, self.kind = key, array, kind


class TorchPickler(pickle.Pickler):
    """Pickles NumPy arrays as torch pickles tensors; their numbers are kept in `storages`."""

    def __init__(self, file, legacy):
        super().__init__(file, protocol=2)
        self.legacy, self.storages = legacy, {}

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        kind = getattr(sys.modules["torch"], obj.kind)
        return ("storage", kind, obj.key, "cpu", obj.array.size, *(None,) * self.legacy)

    def reducer_override(self, obj):
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        key = str(len(self.storages))
        array = obj.copy(order="C")
        self.storages[key] = array.ravel()
        storage = Storage(key, self.storages[key], STORAGES[obj.dtype])
        strides = tuple(stride // array.itemsize for stride in array.strides)
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (storage, 0, obj.shape, strides, False, collections.OrderedDict())


def dump(content, legacy):
    file = io.BytesIO()
    with mock.patch.dict(sys.modules, fake_modules()):
        pickler = TorchPickler(file, legacy)
        pickler.dump(content)
    return file.getvalue(), pickler.storages


def save_archive(content, path):
    """The format of PyTorch 1.6 and later."""
    pickled, storages = dump(content, legacy=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())


def save_stream(content, path):
    """The format before PyTorch 1.6."""
    pickled, storages = dump(content, legacy=True)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    tail = [array.size.to_bytes(8, "little") + array.tobytes() for array in storages.values()]
    path.write_bytes(b"".join([*head, pickled, pickle.dumps([*storages], 2), *tail]))
