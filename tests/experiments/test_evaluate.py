"""Runs side by side: tables, page and stored results."""

from types import SimpleNamespace

import pytest
from fixtures.commands import run_here
from fixtures.finished_runs import RunMaker, predict_with_errors, write_checkpoint

from fourdc_jax.tasks.segmentation import report


@pytest.fixture
def make_run(tmp_path):
    return RunMaker(tmp_path, write_checkpoint(tmp_path / "checkpoint"))


def test_the_tables_are_printed_and_shown_on_a_page(make_run, monkeypatch, tmp_path):
    def load(workdir, **options):
        assert options == {"which": "last", "rotations": 2, "max_rows": 99}
        return SimpleNamespace(predict=predict_with_errors(workdir))

    monkeypatch.setattr(report, "load_predictor", load)
    runs, out = [make_run("a_30"), make_run("b_0", init="elsewhere")], tmp_path / "out"
    flags = ["--which=last", "--rotations=2", "--max-rows=99", "--scenes=1", f"--out={out}"]
    done = run_here("evaluate", "--workdirs", *runs, *flags, "--compilation-cache=")
    assert done.code == 0, done.err
    tables = (out / "tables.md").read_text()
    assert done.out == (
        f"2 validation scenes, percent, on voxels\n\n{tables}\nwrote {out / 'report.html'}\n"
    )
    assert "| pre-trained |   100% |    1 |" in tables
    assert "confusion_scratch.png" in (out / "report.html").read_text()
    assert all((run / "results.json").is_file() for run in runs)


def test_what_does_not_compare_is_one_sentence(make_run):
    done = run_here("evaluate", "--workdirs", make_run("a_0"), "--names", "a", "b")
    assert (done.code, done.err) == (1, "error: 2 --names for 1 --workdirs: name each one\n")
