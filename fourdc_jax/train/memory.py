"""Whether a compiled program fits into memory: asked before it runs, and told when it did not."""

import re
from pathlib import Path
from typing import Any

import jax

MEMINFO = Path("/proc/meminfo")


class NoMemory(MemoryError):
    """A program needs more memory than its device has left."""


def check_memory(program: Any) -> None:
    """Raises NoMemory where a compiled program needs more than the first local device has left.

    On a CPU it would not fail but be killed. A device that does not tell what it has passes.
    """
    analysis = program.memory_analysis()
    free = free_bytes(jax.local_devices()[0])
    if analysis is None or free is None:
        return
    needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    if needed > free:
        raise NoMemory(f"the program needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free")


def free_bytes(device: jax.Device) -> int | None:
    """Memory that is left on a device; None where it does not tell."""
    if device.platform == "cpu":
        text = MEMINFO.read_text() if MEMINFO.is_file() else ""
        found = re.search(r"MemAvailable:\s*(\d+) kB", text)
        return int(found[1]) * 1024 if found else None
    stats = device.memory_stats() or {}
    if not {"bytes_limit", "bytes_in_use"} <= stats.keys():
        return None
    return stats["bytes_limit"] - stats["bytes_in_use"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
