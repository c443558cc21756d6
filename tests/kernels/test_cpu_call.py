"""The bridge between JAX and numba: arguments, errors, threads, devices and the cache on disk."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("numba")

from fourdc_jax.kernels import cpu_call
from fourdc_jax.kernels.cpu_call import jit, launch, shared


@jit
def scale_kernel(call, values, numbers, flags, scalar, out, count, zoom, add, half):
    out[...] = add + half
    for row in range(values.shape[0]):
        if flags[row] and numbers[row] != 0:
            out[row] += values[row, 0] * zoom + values[row, 1] / numbers[row] + scalar[()]
    count[()] = values.shape[0]


def test_arguments_results_and_constants_arrive():
    values = jnp.arange(10, dtype=jnp.float32).reshape(5, 2)
    numbers = jnp.array([1, 2, 0, 4, 5], jnp.int32)
    flags = jnp.array([True, False, True, True, True])
    outputs = (jax.ShapeDtypeStruct((5,), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32))

    @jax.jit
    def run(*arrays):
        return launch(scale_kernel, arrays, outputs, zoom=3, half=0.5, add=-2)

    out, count = run(values, numbers, flags, jnp.uint8(7))
    full = np.array([0 * 3 + 1 / 1 + 7, 0, 0, 6 * 3 + 7 / 4 + 7, 8 * 3 + 9 / 5 + 7])
    np.testing.assert_allclose(out, full - 1.5, rtol=1e-6)
    assert int(count) == 5


@jit
def fail_kernel(call, numbers, out):
    out[...] = 0
    return numbers[0]


ERRORS = ("the first sentence.", "a table is full: make it larger.")


def fail_with(number, errors=ERRORS):
    output = jax.ShapeDtypeStruct((1,), jnp.int32)
    run = jax.jit(lambda numbers: launch(fail_kernel, (numbers,), (output,), errors=errors)[0])
    return jax.block_until_ready(run(jnp.array([number], jnp.int32)))


def test_an_error_of_a_kernel_is_an_error_of_jax():
    assert not fail_with(0).any()
    with pytest.raises(jax.errors.JaxRuntimeError, match="a table is full: make it larger"):
        fail_with(2)
    with pytest.raises(jax.errors.JaxRuntimeError, match="the first sentence"):
        fail_with(1)
    assert not fail_with(0).any()


@jit
def count_kernel(call, start, out, units):
    out[...] = 0
    count_unit(call, units, start, out, 3)


@shared
def count_unit(unit, start, out, step):
    total = 0.0
    for i in range(2000):
        total += np.sin(float(i))
    out[unit] += start[()] + unit * step + int(total * 0)


def count(start, units):
    output = jax.ShapeDtypeStruct((max(units, 1),), jnp.int32)
    return launch(count_kernel, (start,), (output,), units=units)[0]


@pytest.mark.parametrize("units", [0, 1, 2, 3, 1000])
def test_every_unit_runs_once(units):
    run = jax.jit(count, static_argnums=1)
    for start in range(5):
        expected = start + 3 * np.arange(max(units, 1)) * (units > 0) if units else [0]
        np.testing.assert_array_equal(run(jnp.int32(start), units), expected)


def test_calls_of_several_threads_share_one_pool():
    run = jax.jit(count, static_argnums=1)
    run(jnp.int32(0), 64)

    def repeat(start):
        return [np.asarray(run(jnp.int32(start), 64)) for _ in range(50)]

    with ThreadPoolExecutor(8) as threads:
        for start, results in enumerate(threads.map(repeat, range(8))):
            for result in results:
                np.testing.assert_array_equal(result, start + 3 * np.arange(64))


def test_two_devices_run_at_once():
    assert jax.local_device_count() == 2

    def step(start):
        for _ in range(20):
            out = count(start, 100)
            start = jax.lax.psum(out[-1], "devices") // 2 - 297
        return out

    run = jax.pmap(step, axis_name="devices")
    for _ in range(5):
        out = run(jnp.array([4, 4], jnp.int32))
        np.testing.assert_array_equal(out, [4 + 3 * np.arange(100)] * 2)


IN_A_PROCESS = """
import numpy as np
from test_cpu_call import count
import jax, jax.numpy as jnp
run = jax.jit(count, static_argnums=1)
for start in range(20):
    np.testing.assert_array_equal(run(jnp.int32(start), 500), start + 3 * np.arange(500))
"""


def check_in_a_process(code, **environment):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", **environment}
    environment["PYTHONPATH"] = os.path.dirname(__file__)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_pools_of_any_size(threads):
    check_in_a_process(IN_A_PROCESS, NPROC=str(threads))


def test_with_64_bit_numbers():
    check_in_a_process(IN_A_PROCESS, JAX_ENABLE_X64="1")


def test_the_second_process_compiles_nothing(tmp_path):
    check_in_a_process(IN_A_PROCESS, NUMBA_CACHE_DIR=str(tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")}
    assert len(files) == 2
    check_in_a_process(IN_A_PROCESS, NUMBA_CACHE_DIR=str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")} == files


def test_without_a_place_for_the_cache(monkeypatch):
    without_cache = cpu_call.numba.cfunc

    def refuse(signature, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available for file")
        return without_cache(signature, **options)

    monkeypatch.setattr(cpu_call.numba, "cfunc", refuse)
    assert not fail_with(0, errors=("not compiled before",)).any()


def test_vmap_says_why_not():
    with pytest.raises(ValueError, match="Concatenate the scenes"):
        jax.vmap(lambda start: count(start, 4))(jnp.arange(3))


def make_kernel(width):
    @jit
    def kernel(call, out):
        out[...] = width

    return kernel


def test_kernels_of_one_function_need_a_variant():
    output = (jax.ShapeDtypeStruct((2,), jnp.int32),)
    four, eight = make_kernel(4), make_kernel(8)
    assert int(launch(four, (), output, variant="4")[0][0]) == 4
    assert int(launch(eight, (), output, variant="8")[0][0]) == 8
    with pytest.raises(TypeError, match="name its variant"):
        launch(four, (), output)


def test_wrong_calls_are_named():
    output = (jax.ShapeDtypeStruct((4,), jnp.int32),)
    with pytest.raises(TypeError, match=r"the constants of count_kernel are \('units',\)"):
        launch(count_kernel, (jnp.int32(0),), output, unit=3)
    with pytest.raises(TypeError, match="CPU kernels have no bfloat16"):
        launch(count_kernel, (jnp.bfloat16(0),), output, units=3)


def test_this_machine_can_run_kernels():
    assert cpu_call.problem() == ""


@pytest.fixture
def fresh_problem():
    cpu_call.problem.cache_clear()
    yield cpu_call.problem
    cpu_call.problem.cache_clear()


def test_another_frame_is_a_problem_and_no_error(monkeypatch, fresh_problem):
    name, expected, _ = cpu_call.FOUND[1]
    changed = (cpu_call.FOUND[0], (name, expected - 8, False), *cpu_call.FOUND[2:])
    monkeypatch.setattr(cpu_call, "FOUND", changed)
    assert "the size of the arguments is 40, not 32" in fresh_problem()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((sys, "platform", "win32"), "this is win32"),
        ((cpu_call.numba.config, "DISABLE_JIT", 1), "NUMBA_DISABLE_JIT"),
        ((cpu_call.platform, "python_implementation", lambda: "PyPy"), "this is PyPy"),
    ],
)
def test_other_systems_are_a_problem_and_no_error(monkeypatch, fresh_problem, change, message):
    monkeypatch.setattr(*change)
    assert message in fresh_problem()


def test_problems_are_found_inside_a_trace(fresh_problem):
    @jax.jit
    def run(x):
        assert fresh_problem() == ""
        return x + 1

    assert int(run(jnp.int32(1))) == 2
