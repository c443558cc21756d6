"""What the compiler made of GPU kernels, read without a GPU.

`launched_kernels` finds the Triton kernels in a program that was lowered for CUDA, where each
custom call carries its own PTX; `assemble` asks the assembler of Triton's wheel what they need.
"""

import re
import subprocess
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

WARP = 32
REGISTERS = 65536  # of a multiprocessor, of compute capability 8.0 and 9.0
MOST_WARPS, MOST_PROGRAMS = 64, 32  # on a multiprocessor at a time
SHARED_MEMORY = {80: 167_936, 90: 233_472}  # bytes of a multiprocessor
LARGEST_SHARED_MEMORY = {80: 166_912, 90: 232_448}  # bytes of one program
RESERVED_SHARED_MEMORY = 1024  # bytes that each program takes beside its own


class CompiledKernel(NamedTuple):
    """One launch of a kernel.

    Attributes:
      name: of the kernel's function.
      architecture: compute capability, 80 or 90.
      warps: of a program.
      shared_memory: bytes of a program.
      grid: programs along three axes.
      ptx: its code.
      bytes: of all operands and results, each counted once.
    """

    name: str
    architecture: int
    warps: int
    shared_memory: int
    grid: tuple[int, int, int]
    ptx: str
    bytes: int

    @property
    def matrix_shapes(self) -> Counter[str]:
        """Tensor-core instructions in the code: "wgmma m64n96k16" or "mma m16n8k16" -> number."""
        shapes = re.findall(r"\b(wgmma)\.mma_async\.sync\.aligned\.(m\d+n\d+k\d+)", self.ptx)
        shapes += re.findall(r"\b(mma)\.sync\.aligned\.(m\d+n\d+k\d+)", self.ptx)
        return Counter(f"{kind} {shape}" for kind, shape in shapes)

    @property
    def asynchronous_copies(self) -> Counter[int]:
        """Bytes that a thread copies -> number of such cp.async instructions in the code."""
        copies = re.findall(
            r"\bcp\.async\.c[ag]\.shared\.global[^;]*?\], *(0x[0-9a-f]+|\d+)", self.ptx
        )
        return Counter(int(size, 0) for size in copies)


class Resources(NamedTuple):
    """What a thread of an assembled kernel needs.

    Attributes:
      registers: of a thread.
      spilled: bytes that a thread stores to and loads from local memory for want of registers.
    """

    registers: int
    spilled: int


def launched_kernels(lowered: Any) -> list[CompiledKernel]:
    """The Triton kernels of a `jax.stages.Lowered` for CUDA, one for each call, in program order.

    A function of the program that is called twice counts once.
    """
    kernels = []
    for operation in _operations(lowered.compiler_ir("stablehlo").body.operations):
        if operation.name != "stablehlo.custom_call":
            continue
        attributes = operation.attributes
        if not attributes["call_target_name"].value.startswith("triton_kernel_call"):
            continue
        if "mhlo.backend_config" in attributes:  # a typed call, of jax-triton 0.4
            packed = attributes["mhlo.backend_config"]["opaque"].value_bytes
        else:
            packed = attributes["backend_config"].value_bytes
        kernels.append(_read_call(zlib.decompress(packed), _bytes_of_call(operation)))
    return kernels


def assemble(kernel: CompiledKernel) -> Resources:
    """Registers and spills that the assembler of Triton's wheel reports.

    Raises:
      RuntimeError: it refuses the code.
    """
    return _assemble(kernel.ptx, kernel.architecture)


def programs_per_multiprocessor(kernel: CompiledKernel, resources: Resources) -> int:
    """Programs that registers, shared memory and warps let run at a time."""
    registers_of_warp = -(-resources.registers * WARP // 256) * 256
    shared = kernel.shared_memory + RESERVED_SHARED_MEMORY
    return min(
        MOST_PROGRAMS,
        MOST_WARPS // kernel.warps,
        REGISTERS // (registers_of_warp * kernel.warps),
        SHARED_MEMORY[kernel.architecture] // shared,
    )


def count_launches(compiled_text: str) -> Counter[str]:
    """Kind of operation -> number in a compiled program (`compiled.as_text()`) that cost a launch.

    Bodies of fusions and reductions are no launches; the body of a loop counts once.
    """
    inlined = set(re.findall(r"(?:calls|to_apply|comparator)=%?([\w.\-]+)", compiled_text))
    counts, own = Counter(), False
    for line in compiled_text.splitlines():
        if line.endswith("{") and (name := re.match(r"(?:ENTRY )?%?([\w.\-]+) ", line)):
            own = name[1] not in inlined
        elif own and (operation := re.search(r"^\s.*? = .*?[\])}] ?([a-z][a-z0-9\-]*)\(", line)):
            counts[operation[1]] += 1
    return Counter({kind: count for kind, count in counts.items() if kind not in _NO_LAUNCH})


_NO_LAUNCH = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "opt-barrier", "while"),
    *("conditional", "call", "after-all", "partition-id", "replica-id"),
}


def _operations(operations: Any) -> Iterator[Any]:
    """Operations and all those inside of them."""
    for view in operations:
        yield view.operation
        for region in view.operation.regions:
            for block in region.blocks:
                yield from _operations(block.operations)


def _bytes_of_call(operation: Any) -> int:
    """Of operands and results; an operand that a result overwrites is the same memory."""
    aliases = str(operation.attributes["output_operand_aliases"])
    overwritten = {int(number) for number in re.findall(r"operand_index = (\d+)", aliases)}
    read = [value for n, value in enumerate(operation.operands) if n not in overwritten]
    return sum(map(_bytes_of, [*read, *operation.results]))


def _bytes_of(value: Any) -> int:
    shape, element = re.fullmatch(r"tensor<((?:\d+x)*)\D+?(\d+)>", str(value.type)).groups()
    size = max(int(element) // 8, 1)
    for length in shape.split("x")[:-1]:
        size *= int(length)
    return size


def _read_call(message: bytes, num_bytes: int) -> CompiledKernel:
    """Of jaxlib's serialised kernel call: {kernel {name, warps, shared memory, PTX, ..}, grid}."""
    call = _fields(_fields(message)[1])
    kernel = _fields(call[1])
    grid = tuple(call.get(axis, 1) for axis in (2, 3, 4))
    return CompiledKernel(
        name=kernel[1].decode(),
        architecture=kernel[6],
        warps=kernel[2],
        shared_memory=kernel.get(3, 0),
        grid=grid,
        ptx=kernel[4].decode(),
        bytes=num_bytes,
    )


def _fields(message: bytes) -> dict[int, Any]:
    """Number -> value (integer or bytes) of a protocol buffer's fields, the last of each number."""
    fields, place = {}, 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place, value, shift = place + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while place < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            fields[number] = varint()
        else:
            length = {1: 8, 5: 4}.get(kind) or varint()
            fields[number] = message[place : place + length]
            place += length
    return fields


@cache
def _assemble(ptx: str, architecture: int) -> Resources:
    target = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)[1]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [_assembler(), "-v", f"-arch={target}", source, "-o", Path(folder) / "cubin"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ptxas: {done.stderr.strip()}")
    registers = re.search(r"Used (\d+) registers", done.stderr)
    spills = re.findall(r"(\d+) bytes spill", done.stderr)
    return Resources(int(registers[1]), sum(map(int, spills)))


def _assembler() -> Path:
    """The newest that Triton's wheel has: Triton writes PTX of that one's version."""
    folder = Path(find_spec("triton").origin).parent / "backends" / "nvidia" / "bin"
    newest = folder / "ptxas-blackwell"
    return newest if newest.exists() else folder / "ptxas"
