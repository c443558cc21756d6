"""The innermost loops of the CPU convolutions, written in LLVM's vector instructions.

Both keep a block of sums, some rows by some vectors of columns, in the machine's registers. One
gathers rows of features through addresses and multiplies them by a matrix of weights; the other
adds outer products of pairs of rows. Every sum is a chain of fused multiply-adds in the order of
its terms, whatever the size of the block and of the vectors.
"""

from functools import cache
from typing import NamedTuple

from fourdc_jax.kernels.cpu_call import jit
from fourdc_jax.kernels.cpu_frame import set_word, word
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

UNROLL = 2  # steps of the reduction in one turn of the loop
CACHE_LINE = 64

WORD, FLOAT, INDEX = ir.IntType(64), ir.FloatType(), ir.IntType(32)


class Machine(NamedTuple):
    """Floats of a vector, and vector registers."""

    width: int
    registers: int

    @property
    def most_vectors(self) -> int:
        """Columns of a block, in vectors."""
        return 4 if self.registers == 32 else 3

    def rows(self, vectors: int) -> int:
        """Rows of a block, an even number: beside the sums, registers hold a row and a number."""
        return min(12, (self.registers - vectors - 1) // vectors // 2 * 2)


def this_machine() -> Machine:
    """AVX-512, AVX2 with FMA, or vectors of four floats, which LLVM makes for every machine.

    The features are those that numba compiles for; NUMBA_CPU_FEATURES and NUMBA_CPU_NAME set them.
    """
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return machine_of(triple, tuple(features.split(",")))


@cache
def machine_of(triple: str, features: tuple[str, ...]) -> Machine:
    """The widest vectors of a processor, by LLVM's names."""
    if "+avx512f" in features:
        return Machine(16, 32)
    if "+avx2" in features and "+fma" in features:
        return Machine(8, 16)
    return Machine(4, 32 if triple.startswith(("aarch64", "arm64")) else 16)


@cache
def row_products(machine: Machine, vectors: int):
    """A function that adds rows of features times a panel of weights to rows of sums.

    sums[i] += sources[i] @ weights, for `count` rows whose addresses two lists hold. The lists have
    room for a whole block more: the last block repeats a source and adds it to `spare`, a row of
    sums that nobody reads.
    """
    rows = machine.rows(vectors)
    whole = _row_block(machine.width, rows, vectors)
    half = _row_block(machine.width, rows // 2, vectors)

    @jit
    def multiply(sources, sums, count, spare, source_at, sum_at, weights, step, depth, ahead):
        """Positions `*_at` and the `step` between rows of weights are in bytes.

        `ahead` bytes of the sources of the next block are fetched into the cache meanwhile.
        """
        padded = (count + rows // 2 - 1) // (rows // 2) * (rows // 2)
        for row in range(count, padded):
            set_word(sources, row, word(sources, count - 1))
            set_word(sums, row, spare)
        first = 0
        while first + rows <= padded:
            for row in range(first + rows, min(first + 2 * rows, padded)):
                for byte in range(0, ahead, CACHE_LINE):
                    prefetch(word(sources, row) + source_at + byte)
            at = 8 * first
            whole(sources + at, sums + at, source_at, sum_at, weights, step, depth)
            first += rows
        if first < padded:
            at = 8 * first
            half(sources + at, sums + at, source_at, sum_at, weights, step, depth)

    return multiply


@cache
def outer_products(machine: Machine, vectors: int):
    """A function that adds outer products of pairs of rows to a panel of sums.

    sums[i] += sum over p of left[p][i] * right[p], for i below `height` and pairs of rows p whose
    addresses two lists hold.
    """
    rows = machine.rows(vectors)
    blocks = (_outer_block(machine.width, number, vectors) for number in (rows, 2, 1))
    whole, two, one = blocks

    @jit
    def multiply(left, right, count, height, right_at, sums, step):
        """Position `right_at` and the `step` between rows of sums are in bytes."""
        row = 0
        while row + rows <= height:
            whole(left, right, count, 4 * row, right_at, sums + row * step, step)
            row += rows
        while row + 2 <= height:
            two(left, right, count, 4 * row, right_at, sums + row * step, step)
            row += 2
        if row < height:
            one(left, right, count, 4 * row, right_at, sums + row * step, step)

    return multiply


def _row_block(width: int, rows: int, vectors: int):
    @intrinsic
    def block(typing, sources, sums, source_at, sum_at, weights, step, depth):
        def generate(context, builder, signature, values):
            emit = _Emitter(builder, width)
            sources, sums, source_at, sum_at, weights, step, depth = values
            a = [builder.add(emit.word(sources, i), source_at) for i in range(rows)]
            c = [builder.add(emit.word(sums, i), sum_at) for i in range(rows)]
            start = [emit.load(c[i], j) for i in range(rows) for j in range(vectors)]

            def add_step(number, pointers, totals):
                (b,) = pointers
                row = [emit.load(b, j) for j in range(vectors)]
                at = builder.shl(number, WORD(2))
                totals = list(totals)
                for i in range(rows):
                    value = emit.spread(builder.add(a[i], at))
                    for j in range(vectors):
                        place = i * vectors + j
                        totals[place] = emit.multiply_add(value, row[j], totals[place])
                return [builder.add(b, step)], totals

            totals = emit.loop(depth, [weights], start, add_step)
            for i in range(rows):
                for j in range(vectors):
                    emit.store(totals[i * vectors + j], c[i], j)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    return block


def _outer_block(width: int, rows: int, vectors: int):
    @intrinsic
    def block(typing, left, right, count, left_at, right_at, sums, step):
        def generate(context, builder, signature, values):
            emit = _Emitter(builder, width)
            left, right, count, left_at, right_at, sums, step = values
            c = [builder.add(sums, builder.mul(step, WORD(i))) for i in range(rows)]
            start = [emit.load(c[i], j) for i in range(rows) for j in range(vectors)]

            def add_pair(number, pointers, totals):
                a, b = (emit.word(list_at, 0) for list_at in pointers)
                a, b = builder.add(a, left_at), builder.add(b, right_at)
                row = [emit.load(b, j) for j in range(vectors)]
                totals = list(totals)
                for i in range(rows):
                    value = emit.spread(builder.add(a, WORD(4 * i)))
                    for j in range(vectors):
                        place = i * vectors + j
                        totals[place] = emit.multiply_add(value, row[j], totals[place])
                return [builder.add(list_at, WORD(8)) for list_at in pointers], totals

            totals = emit.loop(count, [left, right], start, add_pair)
            for i in range(rows):
                for j in range(vectors):
                    emit.store(totals[i * vectors + j], c[i], j)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    return block


class _Emitter:
    """Writes the few instructions that the blocks consist of."""

    def __init__(self, builder: ir.IRBuilder, width: int):
        self.builder, self.width = builder, width
        self.vector = ir.VectorType(FLOAT, width)
        self.undefined = ir.Constant(self.vector, ir.Undefined)
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fmuladd.v{width}f32"  # fused where the machine can
        self.fma = cgutils.get_or_insert_function(builder.module, kind, name)

    def pointer(self, address, kind):
        return self.builder.inttoptr(address, kind.as_pointer())

    def word(self, address, index):
        return self.builder.load(self.pointer(self.builder.add(address, WORD(8 * index)), WORD))

    def _vector_at(self, address, index):
        at = self.builder.add(address, WORD(4 * self.width * index))
        return self.pointer(at, self.vector)

    def load(self, address, index):
        value = self.builder.load(self._vector_at(address, index))
        value.align = 4
        return value

    def store(self, value, address, index):
        self.builder.store(value, self._vector_at(address, index)).align = 4

    def spread(self, address):
        """The float at an address, in all places of a vector."""
        value = self.builder.load(self.pointer(address, FLOAT))
        first = self.builder.insert_element(self.undefined, value, INDEX(0))
        zeros = ir.Constant(ir.VectorType(INDEX, self.width), [0] * self.width)
        return self.builder.shuffle_vector(first, self.undefined, zeros)

    def multiply_add(self, a, b, c):
        return self.builder.call(self.fma, [a, b, c])

    def loop(self, count, pointers, totals, step):
        """Totals after step(number, pointers, totals) for every number below count, two a turn."""
        even = self.builder.and_(count, WORD(-UNROLL))
        pointers, totals = self._turns(WORD(0), even, UNROLL, pointers, totals, step)
        return self._turns(even, count, 1, pointers, totals, step)[1]

    def _turns(self, first, end, unroll, pointers, totals, step):
        builder = self.builder
        before = builder.block
        body, after = builder.append_basic_block("turn"), builder.append_basic_block("after")
        some = builder.icmp_signed("<", first, end)
        builder.cbranch(some, body, after)

        builder.position_at_end(body)
        values = [first, *pointers, *totals]
        carried = [builder.phi(value.type) for value in values]
        number, current = carried[0], (carried[1 : 1 + len(pointers)], carried[1 + len(pointers) :])
        for _ in range(unroll):
            current = step(number, *current)
            number = builder.add(number, WORD(1))
        following = [number, *current[0], *current[1]]
        builder.cbranch(builder.icmp_signed("<", number, end), body, after)

        builder.position_at_end(after)
        results = [builder.phi(value.type) for value in values]
        for start, inside, next_value, result in zip(values, carried, following, results):
            inside.add_incoming(start, before)
            inside.add_incoming(next_value, body)
            result.add_incoming(start, before)
            result.add_incoming(next_value, body)
        return results[1 : 1 + len(pointers)], results[1 + len(pointers) :]


@intrinsic
def prefetch(typing, address):
    """Asks for the cache line at an address, to be read soon."""

    def generate(context, builder, signature, values):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, INDEX, INDEX, INDEX])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        read, keep, data = INDEX(0), INDEX(3), INDEX(1)
        builder.call(function, [builder.inttoptr(values[0], byte), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate
