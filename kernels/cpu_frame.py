"""The call frame that XLA hands to a handler, read as 64-bit words; for numba functions.

XLA's foreign function interface describes a call by C structures (`xla/ffi/api/c_api.h` beside
jaxlib). Every structure begins with its size and all of its fields fill words of 8 bytes, so a
handler needs no header: it reads word numbers. `cpu_call` compares the sizes with those of here
before any kernel runs. An address is an int64 throughout.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

API_MAJOR, API_MINOR = 0, 3  # the version whose header these numbers are from

# Words of XLA_FFI_CallFrame.
EXTENSION, API, CONTEXT = 1, 2, 3
ARGUMENTS_SIZE, NUM_ARGUMENTS, ARGUMENTS = 5, 7, 9
RESULTS_SIZE, NUM_RESULTS, RESULTS = 10, 12, 14
ATTRIBUTES_SIZE, NUM_ATTRIBUTES, ATTRIBUTES = 15, 17, 20
# Words of XLA_FFI_Buffer.
BUFFER_DATA, BUFFER_RANK, BUFFER_SHAPE = 3, 4, 5
# Words of XLA_FFI_Api: functions.
CREATE_ERROR, DESTROY_ERROR, SCHEDULE, NUM_THREADS = 6, 8, 17, 18
# Words of XLA_FFI_Metadata_Extension and of XLA_FFI_Metadata, which ask for a handler's version.
EXTENSION_KIND, EXTENSION_METADATA, METADATA_KIND = 1, 3, 1
VERSION_SIZE, VERSION_EXTENSION, VERSION_NUMBERS, TRAITS = 1, 2, 3, 4

# Structures that lie inside the frame have exactly these sizes; others may grow at their end.
ARGUMENTS_BYTES = RESULTS_BYTES = 40
SMALLEST_FRAME, SMALLEST_ATTRIBUTES, SMALLEST_BUFFER = 168, 48, 48
SMALLEST_API, SMALLEST_METADATA = 8 * (NUM_THREADS + 1), 36

FAILED_PRECONDITION = 9  # XLA_FFI_Error_Code

WORD = ir.IntType(64)


def pointer(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    """The LLVM pointer that an int64 address stands for."""
    return builder.inttoptr(address, kind.as_pointer())


@intrinsic
def word(typing, address, index):
    """int64 number `index` behind an address."""

    def generate(context, builder, signature, values):
        at = builder.gep(pointer(builder, values[0], WORD), [values[1]])
        return builder.load(at)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def set_word(typing, address, index, value):
    """Writes int64 number `index` behind an address."""

    def generate(context, builder, signature, values):
        at = builder.gep(pointer(builder, values[0], WORD), [values[1]])
        builder.store(values[2], at)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def argument_reader(kinds):
    """An intrinsic that reads a call frame's buffers and attributes into one tuple.

    Args:
      kinds: for each entry ("arguments" | "results", number, dtype, rank) of a buffer, or
        ("attributes", number, type) of a scalar.
    """
    result = types.Tuple([_type_of(kind) for kind in kinds])

    @intrinsic
    def read(typing, frame):
        def generate(context, builder, signature, values):
            entries = [_read(context, builder, values[0], kind) for kind in kinds]
            return context.make_tuple(builder, result, entries)

        return result(types.int64), generate

    return read


def _type_of(kind):
    return kind[2] if kind[0] == "attributes" else types.Array(kind[2], kind[3], "C")


def _read(context, builder, frame, kind):
    table = {"arguments": ARGUMENTS, "results": RESULTS, "attributes": ATTRIBUTES}[kind[0]]
    entry = _load(builder, _load(builder, frame, table), kind[1])
    if kind[0] == "attributes":  # a data type, and where the value is
        return builder.load(
            pointer(builder, _load(builder, entry, 1), context.get_value_type(kind[2]))
        )
    array_type = _type_of(kind)
    array = make_array(array_type)(context, builder)
    shape_at = _load(builder, entry, BUFFER_SHAPE)
    shape = [_load(builder, shape_at, axis) for axis in range(array_type.ndim)]
    data_type = context.get_data_type(array_type.dtype)
    item = WORD(context.get_abi_sizeof(data_type))
    strides, step = [], item
    for length in reversed(shape):
        strides.insert(0, step)
        step = builder.mul(step, length)
    populate_array(
        array,
        data=pointer(builder, _load(builder, entry, BUFFER_DATA), data_type),
        shape=cgutils.pack_array(builder, shape, WORD),
        strides=cgutils.pack_array(builder, strides, WORD),
        itemsize=item,
        meminfo=None,  # the memory is XLA's
    )
    return array._getvalue()


def _load(builder, address, index):
    return builder.load(builder.gep(pointer(builder, address, WORD), [WORD(index)]))


def call_api(builder, frame, number, words):
    """Calls a function of XLA's table with a structure of words; the error it returns, or 0.

    Args:
      words: of the structure after its size and its extension.
    """
    size = len(words) + 2
    with builder.goto_entry_block():
        place = builder.alloca(WORD, size)
    for index, value in enumerate([WORD(8 * size), WORD(0), *words]):
        builder.store(value, builder.gep(place, [WORD(index)]))
    address = _load(builder, _load(builder, frame, API), number)
    function = pointer(builder, address, ir.FunctionType(WORD, [WORD]))
    return builder.call(function, [builder.ptrtoint(place, WORD)])


@intrinsic
def num_threads(typing, frame):
    """Threads of the pool that XLA runs its own operations on; 1 where there is no pool."""

    def generate(context, builder, signature, values):
        place = cgutils.alloca_once_value(builder, WORD(1))
        context_word = _load(builder, values[0], CONTEXT)
        error = call_api(
            builder, values[0], NUM_THREADS, [context_word, builder.ptrtoint(place, WORD)]
        )
        _forget(builder, values[0], error)
        failed = builder.icmp_unsigned("!=", error, WORD(0))
        return builder.select(failed, WORD(1), builder.load(place))

    return types.int64(types.int64), generate


@intrinsic
def schedule(typing, frame, task, data):
    """Puts task(data) into XLA's pool; False where the pool refuses it."""

    def generate(context, builder, signature, values):
        frame, task, data = values
        error = call_api(builder, frame, SCHEDULE, [_load(builder, frame, CONTEXT), task, data])
        _forget(builder, frame, error)
        return builder.icmp_unsigned("==", error, WORD(0))

    return types.boolean(types.int64, types.int64, types.int64), generate


def _forget(builder, frame, error):
    with builder.if_then(builder.icmp_unsigned("!=", error, WORD(0)), likely=False):
        call_api(builder, frame, DESTROY_ERROR, [error])


def failure_maker(messages):
    """An intrinsic (frame, number) that makes XLA an error of sentence `number`, counted from 1.

    Numbers 0 and None make 0, which is no error.
    """

    @intrinsic
    def failure(typing, frame, number):
        if number == types.none:
            return types.int64(types.int64, number), lambda *_: WORD(0)

        def generate(context, builder, signature, values):
            frame, number = values
            error = cgutils.alloca_once_value(builder, WORD(0))
            failed = builder.icmp_signed("!=", number, WORD(0))
            with builder.if_then(failed, likely=False):
                text = context.insert_const_string(builder.module, "unknown error of a CPU kernel")
                for index, message in enumerate(messages, 1):
                    chosen = builder.icmp_signed("==", number, WORD(index))
                    other = context.insert_const_string(builder.module, message)
                    text = builder.select(chosen, other, text)
                words = [builder.ptrtoint(text, WORD), WORD(FAILED_PRECONDITION)]
                builder.store(call_api(builder, frame, CREATE_ERROR, words), error)
            return builder.load(error)

        return types.int64(types.int64, types.int64), generate

    return failure
