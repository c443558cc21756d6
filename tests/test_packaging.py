"""What is installed: its packages, its pins, its commands, and how it lives beside another kernels.

`kernels` is also a well-known package on PyPI. Nothing of ours may be imported by that name, or by
another that is not ours alone.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from fixtures.paths import ROOT
from packaging.requirements import Requirement

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = ("fourdc_jax", "kernels", "configs", "experiments")  # folders with packages
CEILINGS = {  # first releases that are announced to break what is used here
    "orbax-checkpoint": "1",  # its second API takes the place of the one in train/checkpoints.py
    "jax": "0.13",
    "jax-triton": "0.5",  # drops arguments that are deprecated in 0.4
}


def requirements():
    """Every dependency, the optional ones included."""
    optional = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in optional for line in extra)]
    return [Requirement(line) for line in lines]


def package_of(folder):
    """The name that a folder of the repository is imported by."""
    name = ".".join(folder.relative_to(ROOT).parts)
    return name if name.startswith("fourdc_jax") else f"fourdc_jax.{name}"


def test_every_folder_with_an_init_is_a_package():
    found = [path.parent for folder in SOURCES for path in (ROOT / folder).rglob("__init__.py")]
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(map(package_of, found))


def test_every_folder_with_code_is_a_package():
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_an_announced_release_that_breaks_us_is_not_installed():
    checked = set()
    for requirement in requirements():
        if requirement.name in CEILINGS:
            assert f"<{CEILINGS[requirement.name]}" in str(requirement.specifier).split(",")
            checked.add(requirement.name)
    assert checked == set(CEILINGS)


def run(*command, **options):
    """Runs a command to its end; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"JAX_PLATFORMS": "cpu", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*arguments, python=sys.executable):
    """pip of this environment, for another one where `python` is given."""
    return run(sys.executable, "-m", "pip", "--python", python, *arguments)


class Sources:
    """What is installed, once for all environments.

    Attributes:
      project: a copy of the sources, so that no build leaves anything in the repository.
      wheel: of it.
      other: wheel of the other package that is called kernels.
      visible: folders of packages that every environment sees: those of this one, with JAX, and
        what the other package and builds need.
    """

    def __init__(self, folder):
        self.project, needed = folder / "project", folder / "needed"
        for name in SOURCES:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.project / name, ignore=ignore)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, self.project)
        pip("install", "--quiet", "--target", needed, "kernels", "setuptools>=77")
        for path in needed.glob("kernels*"):
            shutil.rmtree(path)
        pip("download", "--quiet", "--no-deps", "--dest", folder, "kernels")
        (self.other,) = folder.glob("kernels-*.whl")
        pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, self.project)
        (self.wheel,) = folder.glob("fourdc_jax-*.whl")
        here = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        self.visible = [str(needed), *here]


class Environment:
    """A fresh virtual environment."""

    def __init__(self, folder, visible):
        venv.create(folder, with_pip=False)
        paths = {"base": str(folder), "platbase": str(folder)}
        self.bin = Path(sysconfig.get_path("scripts", "venv", paths))
        self.packages = Path(sysconfig.get_path("purelib", "venv", paths))
        self.python = self.bin / "python"
        (self.packages / "visible.pth").write_text("\n".join(visible))

    def install(self, *what):
        """Installs these, and nothing that they need."""
        flags = ["--quiet", "--no-deps", "--ignore-installed", "--no-build-isolation", "--no-index"]
        pip("install", *flags, *what, python=self.python)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return Sources(tmp_path_factory.mktemp("sources"))


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_its_data_and_commands(sources):
    with zipfile.ZipFile(sources.wheel) as wheel:
        names = wheel.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "fourdc-jax = fourdc_jax.experiments.__main__:main" in (
            wheel.read(entry_points).decode()
        )
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fourdc_jax"}
    assert "fourdc_jax/kernels/sparse_conv/tiles.json" in names
    expected = {
        f"{package_of(path.parent).replace('.', '/')}/{path.name}"
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == expected


IMPORTS = """
import importlib.util
import {first}
import {second}
import kernels
import fourdc_jax.kernels
assert hasattr(kernels, "get_kernel"), kernels
assert hasattr(fourdc_jax.kernels, "sparse_conv"), fourdc_jax.kernels
assert kernels is not fourdc_jax.kernels
from fourdc_jax.kernels.sparse_conv.tile_table import choose_tile
for name in ("configs", "experiments", "benchmarks", "tests"):
    assert importlib.util.find_spec(name) is None, name
print(fourdc_jax.kernels.__file__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("other_first", [True, False], ids=["kernels before", "kernels after"])
@pytest.mark.parametrize("editable", [True, False], ids=["editable", "wheel"])
def test_both_packages_called_kernels_work_in_one_environment(
    sources, tmp_path, editable, other_first
):
    environment = Environment(tmp_path / "venv", sources.visible)
    ours = ("--editable", sources.project) if editable else (sources.wheel,)
    for what in ((sources.other,), ours) if other_first else (ours, (sources.other,)):
        environment.install(*what)
    order = ("kernels", "fourdc_jax.kernels")[:: 1 if other_first else -1]
    script = IMPORTS.format(first=order[0], second=order[1])
    printed = run(environment.python, "-c", script, cwd=tmp_path)
    home = sources.project if editable else environment.packages
    assert Path(printed.strip()).is_relative_to(home)
    (tops,) = environment.packages.glob("fourdc_jax-*.dist-info/top_level.txt")
    assert tops.read_text().split() == ["fourdc_jax"]
    assert "prepare_data" in run(environment.bin / "fourdc-jax", "--help", cwd=tmp_path)


@pytest.mark.slow
def test_commands_of_a_wheel_find_the_configs_and_scripts_that_came_with_it(sources, tmp_path):
    environment = Environment(tmp_path / "venv", sources.visible)
    environment.install(sources.wheel)
    command = environment.bin / "fourdc-jax"
    data = ["--config.data.scans=procedural:1", "--config.data.shapes=procedural:2"]
    flags = ["--config", "pretrain:demo", *data, "--num=1", "--out=sequences"]
    run(command, "make-sequences", *flags, cwd=tmp_path)
    assert (tmp_path / "sequences" / "000000.png").is_file()
    flags = ["--config=configs/pretrain.py:demo", "--workdir=w", "--dry-run"]
    lines = run(command, "sweep", *flags, cwd=tmp_path).splitlines()
    assert len(lines) == 3
    script = Path(lines[0].split()[1])
    assert script.is_relative_to(environment.packages)
    assert script.is_file()
    assert "--config" in run(environment.python, script, "--help", cwd=tmp_path)
