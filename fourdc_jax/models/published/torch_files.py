"""Reads what `torch.save` wrote, without torch and without running anything the file asks for.

A .pth file is a pickle, and a pickle may call any function. Here only dictionaries, sets and
tensors are built. Configs and scalars of the packages named below become placeholders that hold
nothing; every other name is refused. Both formats are read: the archive of PyTorch 1.6 and later,
and the stream of earlier versions.
"""

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C  # first object of the older format
DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
# Packages whose objects stand beside the weights in public checkpoints and are not needed.
SKIPPED_PACKAGES = ("_codecs", "argparse", "easydict", "numpy", "omegaconf", "torch", "typing")


class RefusedError(ValueError):
    """The pickle asks for something that is not built here."""


class Placeholder:
    """Takes the place of an object that is not needed: a pickle may fill it, it keeps nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> "Placeholder":
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Drops it."""

    def extend(self, items: object) -> None:
        """Drops them."""


def read_torch_file(path: Path) -> Any:
    """The saved object; tensors are NumPy arrays (views that share memory as the tensors did).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, was not written by `torch.save`, or names code.
    """
    data = Path(path).read_bytes()
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            return read_archive(data)
        return read_stream(data)
    except RefusedError as error:
        raise ValueError(f"{path} is not loaded: {error}") from error
    except Exception as error:  # a damaged pickle fails in as many ways as there are types
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint (download it again if it should be "
            f"one): {str(error) or type(error).__name__}"
        ) from error


def find_state_dict(content: Any) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint: its "state_dict", or itself.

    Raises:
      ValueError: it holds neither.
    """
    if isinstance(content, dict):
        nested = content.get("state_dict", content)
        if isinstance(nested, dict):
            arrays = {str(k): v for k, v in nested.items() if isinstance(v, np.ndarray)}
            if arrays:
                return arrays
        held = f"it holds {', '.join(map(str, content)) or 'nothing'}"
    else:
        held = "it holds a whole object of Python code"
    raise ValueError(
        f"it must hold a state dict, alone or as 'state_dict', but {held}; save it with "
        "torch.save(model.state_dict(), path)."
    )


class CheckpointUnpickler(pickle.Unpickler):
    """Builds dictionaries, sets and tensors; `load_storage(key, dtype, size)` finds the numbers."""

    def __init__(self, file: io.BytesIO, load_storage: Any):
        super().__init__(file, encoding="utf-8")
        self.load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        """What a global name in the pickle stands for; nothing is imported."""
        if module == "torch" and name in DTYPES:
            return name
        if (module, name) in BUILT:
            return BUILT[module, name]
        if module.split(".")[0] in SKIPPED_PACKAGES:
            return Placeholder
        raise RefusedError(
            f"it names {module}.{name}, which is no part of a checkpoint's weights; loading it "
            "could run code. Where you trust its origin, save the weights alone: "
            "torch.save(model.state_dict(), path)."
        )

    def persistent_load(self, pid: Any) -> Any:
        """The storage that a tensor refers to."""
        kind, storage_type, key, _, size, *view = pid
        if kind != "storage" or storage_type not in DTYPES or any(view):
            raise RefusedError("it holds a kind of tensor that is not read, such as bfloat16")
        return self.load_storage(key, np.dtype(DTYPES[storage_type]), size)


def read_archive(data: bytes) -> Any:
    """The zip format: `<name>/data.pkl`, and a file `<name>/data/<key>` for each storage."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise ValueError("the archive has no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")
        storages: dict[str, np.ndarray] = {}

        def load_storage(key: str, dtype: np.dtype, size: int) -> np.ndarray:
            if key not in storages:
                storages[key] = np.frombuffer(archive.read(f"{folder}data/{key}"), dtype, size)
            return storages[key]

        return CheckpointUnpickler(io.BytesIO(archive.read(pickles[0])), load_storage).load()


def read_stream(data: bytes) -> Any:
    """The older format: five pickles, of which the fourth is the object, then the storages."""
    file = io.BytesIO(data)
    storages: dict[str, np.ndarray] = {}

    def load_storage(key: str, dtype: np.dtype, size: int) -> np.ndarray:
        """Memory that is filled once the object is known."""
        if key not in storages:
            if not 0 <= size * dtype.itemsize <= len(data):
                raise ValueError("a storage is larger than the file")
            storages[key] = np.empty(size, dtype)
        return storages[key]

    def load() -> Any:
        return CheckpointUnpickler(file, load_storage).load()

    magic, _, system = (load() for _ in range(3))
    if magic != MAGIC:
        raise ValueError("it does not start as PyTorch's files do")
    if not system["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    content, keys = load(), load()
    for key in keys:
        storage = storages[key]
        if int.from_bytes(file.read(8), "little") != len(storage):
            raise ValueError(f"storage {key} has another size than its tensors")
        storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype, len(storage))
    return content


def rebuild_tensor(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> np.ndarray:
    """A view of the storage; stride in elements.

    Raises:
      ValueError: the view leaves the storage.
    """
    if 0 in shape:
        return np.empty(shape, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if min(offset, *shape, *stride, 0) < 0 or last >= len(storage):
        raise ValueError("a tensor lies outside its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides, writeable=False)


def rebuild_parameter(tensor: np.ndarray, *_: object) -> np.ndarray:
    """A parameter is its tensor."""
    return tensor


# The names that are more than placeholders.
BUILT = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "Counter"): collections.Counter,
    ("collections", "defaultdict"): collections.defaultdict,
    ("builtins", "dict"): dict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
}
