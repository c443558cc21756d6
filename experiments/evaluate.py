"""Compare finished runs of one task on their validation scenes.

    python experiments/evaluate.py --workdirs runs/scratch runs/pretrained
    python experiments/evaluate.py --workdirs runs/a0 runs/a1 runs/b0 runs/b1 \
        --names scratch scratch pretrained pretrained --out comparison

Runs of one name and share of labels are the seeds of one method: mean and standard deviation.
Without --names a run is called "scratch" or "pre-trained", after its `config.init`. Every workdir
gets results.json, which is read instead of evaluating the same checkpoint again. The folder --out
(by default `evaluation` in the first workdir) gets tables.md (the paper's Table 3, and IoU by
class), scenes.png (its Figure 4), a confusion matrix of each method, where runs saw different
shares of the labels label_efficiency.png (its Figure 6), and report.html with all of them.

Scores are on voxels, as the papers count: a voxel whose points disagree has no class. A point has
the prediction of its voxel, the nearest one.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from fourdc_jax.data.scan import Scan
from fourdc_jax.results.runs import Evaluated, Run, read_runs
from fourdc_jax.tasks.from_config import compare_runs
from fourdc_jax.train import command
from fourdc_jax.train.command_line import at_least
from fourdc_jax.viz.page import write_page


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--workdirs", nargs="+", type=Path, required=True, help="of finished runs")
    add("--names", nargs="+", help="of their methods, one a workdir")
    add("--out", type=Path, help="folder of tables and pictures")
    add("--which", default="best", choices=("best", "last"), help="checkpoint of the runs")
    add("--rotations", type=at_least(1), default=1, help="turns about z whose mean is taken")
    add("--max-rows", type=at_least(1), help="voxels of a tile; by default what fits")
    add("--scenes", type=at_least(0), default=3, help="validation scenes that are drawn")
    add("--again", action="store_true", help="evaluate even where results are stored")
    command.add_cache_flag(parser)


def show_progress(scenes: Iterable[Scan], run: Run) -> Iterable[Scan]:
    """Passes scenes on behind a progress bar."""
    return tqdm(scenes, desc=str(run.workdir), unit="scene")


def main(args: argparse.Namespace) -> None:
    """Evaluates all runs, prints the tables and writes everything."""
    command.enable_cache(args)
    runs = read_runs([path.expanduser() for path in args.workdirs], args.names)
    out = (args.out or runs[0].workdir / "evaluation").expanduser()
    how = Evaluated(args.which, args.rotations, args.max_rows)
    found = compare_runs(
        runs, out, how, num_drawn=args.scenes, again=args.again, progress=show_progress
    )
    text = f"{found.head}\n\n{found.tables}"
    print(text)
    (out / "tables.md").write_text(f"{found.tables}\n")
    page = write_page(
        out, title=found.title, text=text, summary=found.summary, pictures=found.pictures
    )
    print(f"\nwrote {page}")


if __name__ == "__main__":
    command.run(main, __doc__, add_flags, less_memory="lower --max-rows")
