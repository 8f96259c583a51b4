"""report: what all stages have found → reports/index.html, one page that opens without server or network.

Commit, versions and speed belong to the moment and to the machine: `soundraft report` writes a page that has them, too.
"""

from pathlib import Path

from soundraft import stage
from soundraft.evaluation.page import build
from soundraft.evaluation.page.run import AUDITED, CYCLES, DATASET, EVALUATED, of_pipeline
from soundraft.params import load_params
from soundraft.tracking import stage_run

OUT = Path("reports/index.html")


def main() -> None:
    with stage_run("report", load_params().leaves(), last=True) as tracker:
        build.write(OUT, of_pipeline())
        tracker.page(OUT)
    print(f"report: {OUT}, {OUT.stat().st_size / 1e6:.1f} MB; open it in a browser")


if __name__ == "__main__":
    stage.run(main, EVALUATED, AUDITED, CYCLES, DATASET, help_text=__doc__)
