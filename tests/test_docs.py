"""Documentation names only what exists: commands, flags, config keys, files, links, code."""

import ast
import re
from pathlib import Path

import pytest
from fixtures import command_lines, doc_checks, documents
from fixtures.documents import Part
from fixtures.paths import ROOT

GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES]
CHANGES = ROOT / "CHANGELOG.md"
COMMANDS = [
    *(ROOT / "configs" / f"{name}.py" for name in command_lines.CONFIGS),
    *(ROOT / "experiments" / f"{name}.py" for name in command_lines.SCRIPTS),
]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
ENGINE = ROOT / "docs" / "sparse_convolution.md"

TREE_ROW = re.compile(r"^\| `([\w/]+)/` \| (.+) \|$", re.MULTILINE)
TREE_FILE = re.compile(r"`(\w+)`([^`]*)")
SHAPE = re.compile(r"#[^\[]*(\[[\w, +*()/-]*\])")


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    """Documented commands are typed there."""
    monkeypatch.chdir(ROOT)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_a_page_for_every_reader():
    topics = "adding_a_method adding_a_task adding_an_operation architecture data finetune gpu"
    topics += " paper pretrain sparse_convolution"
    assert set(topics.split()) <= {page.stem for page in GUIDES}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_a_page_names_only_what_exists(path):
    problems = doc_checks.check_page(path.read_text(), path)
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("path", COMMANDS, ids=named)
def test_the_commands_of_a_head_docstring_work(path):
    blocks = list(documents.docstring_blocks(path))
    assert blocks, "the head docstring gives no command"
    assert [problem for block in blocks for problem in doc_checks.check_block(block)] == []


def test_the_links_of_the_changelog_lead_somewhere():
    text = CHANGES.read_text()
    found = [doc_checks.check_link(link.text, text, CHANGES) for link in documents.links(text)]
    assert found
    assert not any(found), found


def test_the_changelog_names_new_keys_that_exist():
    text = CHANGES.read_text()
    rows = [row.split("|") for row in text.splitlines() if row.startswith("|")]
    new = [part.text for row in rows for part in documents.code_spans(row[2])]
    assert len(new) > 5
    assert [problem for span in new for problem in doc_checks.check_span(span)] == []


@pytest.mark.parametrize("path", [*PAGES, CHANGES], ids=named)
def test_a_page_is_short(path):
    limit = 120 if path.parent == ROOT else 119
    assert len(path.read_text().splitlines()) <= limit


def read_tree(page: str) -> dict[str, str]:
    """Path of each Python file that the table of folders names -> what it says of it."""
    return {
        f"{folder}/{name}.py": role.strip(" ,;.")
        for folder, files in TREE_ROW.findall(page)
        for name, role in TREE_FILE.findall(files)
    }


def test_the_tree_names_every_file_and_no_other():
    tree = read_tree(ARCHITECTURE.read_text())
    files = {
        file
        for file in doc_checks.python_files()
        if not file.startswith("tests/") and not file.endswith("__init__.py")
    }
    assert sorted(files - tree.keys()) == [], "not in the tree"
    assert sorted(tree.keys() - files) == [], "in the tree, but there is no such file"
    assert [file for file, role in tree.items() if not role] == [], "without a word on it"


def run_blocks(page: str) -> list[str]:
    """Runs the Python blocks of a page one after another; shapes that differ from its comments."""
    values, wrong = {}, []
    for block in documents.code_blocks(page):
        if block.kind != "python":
            continue
        exec(compile(block.text, "page", "exec"), values)
        lines = block.text.splitlines()
        for node in ast.parse(block.text).body:
            stated = SHAPE.search(lines[node.end_lineno - 1])
            if isinstance(node, ast.Assign) and stated:
                name = ast.unparse(node.targets[0])
                shape, expected = list(values[name].shape), eval(stated[1], values)
                wrong += [f"{name} is {shape}, not {expected}"] if shape != expected else []
    return wrong


def test_the_example_of_the_engine_runs_with_the_shapes_that_it_states():
    page = ENGINE.read_text()
    stated = [m for b in documents.code_blocks(page) for m in SHAPE.findall(b.text)]
    assert len(stated) >= 5
    assert run_blocks(page) == []


PRETRAIN = "python experiments/pretrain.py --config configs/pretrain.py:demo --workdir runs/x"


@pytest.mark.parametrize(
    "command",
    [
        "python experiments/no_such.py",
        "python pretrain.py --workdir runs/x",
        "fourdc-jax fly",
        "conda install fourdc-jax",
        "pip install -e '.[tests]'",
        "python -m pytest -m fast",
        "python -m pytest tests/test_nothing.py",
        f"JAX_PLATFORMS=cpu {PRETRAIN}s --workdirs runs/y",
        f"{PRETRAIN} --config.data.voxels.vocel_3d=0.02",
        f"{PRETRAIN} --config.total_steps=many",
        f"{PRETRAIN} stray",
        f"pip install -e . && {PRETRAIN} --wrokdir=x",
        f"{PRETRAIN}  # a comment\n{PRETRAIN} \\\n    --config.modl.remat=True",
        "python experiments/pretrain.py --config configs/pretrain.py",  # without --workdir
        "python experiments/pretrain.py --config configs/pretraining.py --workdir runs/x",
        "python experiments/pretrain.py --config configs/pretrain.py:demi --workdir runs/x",
        "python experiments/prepare_data.py --kind meshes --source a --out b",
        "python experiments/sweep.py --config configs/pretrain.py --workdir a -- --config.sed=1",
    ],
)
def test_a_wrong_command_is_found(command):
    problems = doc_checks.check_block(Part(command, 1, "bash"))
    assert len(problems) == 1, problems


@pytest.mark.parametrize(
    "command",
    [
        f"pip install -e '.[test,ptx]' && JAX_PLATFORMS=cpu {PRETRAIN}",
        f"{PRETRAIN} \\\n    --config.data.scans=<ScanNet>/scans --config.model.remat=True # so",
        "fourdc-jax pretrain --config pretrain:demo --workdir runs/x",
        "python -m pytest -m 'slow and not gpu' tests/kernels",
    ],
)
def test_a_right_command_passes(command):
    assert doc_checks.check_block(Part(command, 1, "bash")) == []


@pytest.mark.parametrize(
    "span",
    [
        "experiments/no_such.py",
        "no_such.py",
        "sequences/no_such.py",
        "kernels/no_such/",
        "no_such_folder/",
        "configs/nothing.py:demo",
        "tests/kernels/no_*.py",
        "no_such_output.json",
        "config.no_such_key",
        "data.voxels.vocel_3d",
        "loss.stop_gradient",
        "optimzer.momentum",
        "optimizer.learning_rate=fast",
        "--config.model.dtyp=bfloat16",
        "--config.optimizer.momentum=much",
        "--no-such-flag",
        "evaluate.py --workdir runs/x",
        "fourdc-jax fly",
        "kernels.sparse_convolution",
        "fourdc_jax.models.unet.SparseNet",
        "fourdc_jax.no_such.Thing",
    ],
)
def test_a_wrong_name_in_a_line_is_found(span):
    problems = doc_checks.check_page(f"One line,\nthen `{span}` and more.", ROOT / "README.md")
    assert len(problems) == 1, problems
    assert problems[0].startswith("README.md:2: ")


@pytest.mark.parametrize(
    "span",
    [
        "config.json",
        "sparse_conv/",
        "configs/pretrain.py:demo",
        "tests/kernels/test_*.py",
        "data.voxels.voxel_3d",
        "config.model.dtype",
        'loss.stop_gradient_3d4d="prediction"',
        "--config.init=runs/demo",
        "--workdir",
        "sweep.py --config configs/pretrain.py",
        "kernels.sparse_conv(features, weights, kmap)",
        "fourdc_jax.models.unet.SparseUNet",
        "coords",
        "[k, c_in, c_out]",
    ],
)
def test_a_right_name_in_a_line_passes(span):
    assert doc_checks.check_page(f"`{span}`", ROOT / "README.md") == []


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/nothing.md)",
        "![a](docs/nothing.jpg)",
        "[a](#nowhere)",
        "[a](docs/gpu.md#nowhere)",
        "```python\nx = (\n```",
        "```python\nfrom fourdc_jax.kernels import no_such\n```",
    ],
)
def test_a_wrong_link_or_block_is_found(text):
    assert len(doc_checks.check_page(text, ROOT / "README.md")) == 1


def test_a_wrong_shape_is_found():
    page = "```python\nimport numpy as np\nn = 2\nx = np.zeros((n, 3))  # float64 [n, {}]\n```"
    assert run_blocks(page.format(3)) == []
    assert run_blocks(page.format(4)) == ["x is [2, 3], not [2, 4]"]


def test_every_script_and_config_is_read():
    assert {"pretrain", "finetune", "sweep"} <= set(command_lines.SCRIPTS)
    assert {"pretrain", "segmentation"} <= set(command_lines.CONFIGS)
