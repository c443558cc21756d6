"""Sharing the work of a CPU kernel over the threads of XLA's own pool.

Threads claim units of work from a counter, the calling thread among them, and the caller waits for
claimed units only. It never waits for a task that has not begun, so that any number of kernels may
run at the same time on a pool of any size. Which thread computes a unit changes no result.
"""

import inspect

import numba
from fourdc_jax.kernels.cpu_frame import WORD, num_threads, pointer, schedule, set_word, word
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

# Words of a job. Its memory belongs to the caller and to all tasks together: whoever leaves last
# frees it, so that a task that begins after the call has returned still finds it, and no unit.
NEXT, UNITS, DONE, OWNERS, HEADER = 0, 1, 2, 3, 8  # the counters fill one cache line
COMPILER = {"error_model": "numpy", "nogil": True}  # division by 0 as in C: kernels raise nothing
SPINS = 4000  # before a waiting thread offers its core to others


def shared(function):
    """Make a function one that kernels call to have its work done by all threads.

    Written as function(unit, *arguments) and called as function(call, units, *arguments): it runs
    for every unit from 0 to units - 1. The units may run at the same time and in any order; results
    must not depend on that, nor `units` on the number of threads. `call` is the first argument of a
    kernel, arguments are arrays and numbers. What the function returns is dropped.
    """
    run = _compiled(function)

    def over_units(call, units, *arguments):
        """Called from numba functions only."""

    @overload(over_units, jit_options=COMPILER)
    def over_units_of_types(call, units, *arguments):
        return inspect.unwrap(_sharing(run, types.Tuple(arguments)))

    return over_units


def _sharing(run, arguments_type):
    """The function of (call, units, *arguments) that shares calls of `run` over all threads."""
    load, save, size = _argument_copies(arguments_type)

    @_compiled
    def work(job):
        units, done = word(job, UNITS), 0
        unit = atomic_add(job + 8 * NEXT, 1)
        while unit < units:
            run(unit, *load(job + 8 * HEADER))
            done += 1
            unit = atomic_add(job + 8 * NEXT, 1)
        if done:
            atomic_add(job + 8 * DONE, done)

    @_compiled
    def leave(job, owners):
        if atomic_add(job + 8 * OWNERS, -owners) == owners:
            free(job)

    @_compiled
    def task(job):
        work(job)
        leave(job, 1)

    task_address = _c_address(task)

    def share(call, units, *arguments):
        helpers = min(num_threads(call), units) - 1
        if helpers < 1:
            for unit in range(units):
                run(unit, *arguments)
            return
        job = allocate(8 * HEADER + size())
        set_word(job, NEXT, 0)
        set_word(job, UNITS, units)
        set_word(job, DONE, 0)
        set_word(job, OWNERS, helpers + 1)
        save(job + 8 * HEADER, arguments)
        refused = 0
        for _ in range(helpers):
            if not schedule(call, task_address(), job):
                refused += 1
        work(job)
        spins = 0
        while atomic_load(job + 8 * DONE) < units:
            spins += 1
            if spins > SPINS:
                yield_core()
        leave(job, refused + 1)

    return share


def _compiled(function):
    return numba.njit(**COMPILER)(inspect.unwrap(function))


def _argument_copies(arguments):
    """Intrinsics that load a tuple of this type from an address, save it there, tell its size."""

    @intrinsic
    def load(typing, address):
        def generate(context, builder, signature, values):
            kind = context.get_value_type(arguments)
            value = builder.load(pointer(builder, values[0], kind))
            context.nrt.incref(builder, arguments, value)
            return value

        return arguments(types.int64), generate

    @intrinsic
    def save(typing, address, value):
        def generate(context, builder, signature, values):
            kind = context.get_value_type(arguments)
            builder.store(values[1], pointer(builder, values[0], kind))
            return context.get_dummy_value()

        return types.void(types.int64, arguments), generate

    @intrinsic
    def size(typing):
        def generate(context, builder, signature, values):
            return WORD(context.get_abi_sizeof(context.get_value_type(arguments)))

        return types.int64(), generate

    return load, save, size


def _c_address(function):
    """An intrinsic () -> address of a C function void(void*) that calls a numba function."""

    @intrinsic
    def address(typing):
        compiled = function.get_compile_result(types.none(types.int64))

        def generate(context, builder, signature, values):
            context.add_linking_libs([compiled.library])
            name = f"{compiled.fndesc.mangled_name}.c"
            task = builder.module.globals.get(name)
            if task is None:
                kind = ir.FunctionType(ir.VoidType(), [WORD])
                task = ir.Function(builder.module, kind, name)
                task.linkage = "internal"
                inner = ir.IRBuilder(task.append_basic_block())
                resolved = compiled.signature
                context.call_internal_no_propagate(inner, compiled.fndesc, resolved, task.args)
                inner.ret_void()
            return builder.ptrtoint(task, WORD)

        return types.int64(), generate

    return address


@intrinsic
def atomic_add(typing, address, value):
    """Adds to the int64 at an address, and returns what it held before."""

    def generate(context, builder, signature, values):
        return builder.atomic_rmw("add", pointer(builder, values[0], WORD), values[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def atomic_load(typing, address):
    """The int64 at an address, and everything that was written before it."""

    def generate(context, builder, signature, values):
        return builder.load_atomic(pointer(builder, values[0], WORD), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def allocate(typing, size):
    """Memory of the C library."""
    return types.int64(types.int64), _c_function("malloc", WORD, [WORD])


@intrinsic
def free(typing, address):
    return types.void(types.int64), _c_function("free", ir.VoidType(), [WORD])


@intrinsic
def yield_core(typing):
    """Lets another thread run."""
    return types.void(), _c_function("sched_yield", ir.VoidType(), [])


def _c_function(name, result, arguments):
    def generate(context, builder, signature, values):
        kind = ir.FunctionType(result, arguments)
        value = builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)
        return value if signature.return_type != types.void else context.get_dummy_value()

    return generate
