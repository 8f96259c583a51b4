"""How fast the synthetic corpus is made, against real time and against the naive way to make it repeatable.

    python benchmarks/bench_corpus.py

espeak-ng repeats itself only in a fresh process. The baseline therefore synthesises every clip in one of its own; ours
synthesises 1/16 of the corpus in each.
"""

from pathlib import Path

import yaml
from timing import report, scratch, seconds

from soundraft.corpora import espeak
from soundraft.corpora.base import Request
from soundraft.parallel import map_fresh

CLIPS = 2000
BASELINE_CLIPS = 32


def main() -> None:
    options = yaml.safe_load(Path("params.yaml").read_text())["corpus"]["espeak"]
    request = Request(role="start", clips={"train": CLIPS, "validation": 1, "test": 1}, options=options)
    with scratch() as folder:
        made = []
        ours_s = seconds(lambda: made.extend(espeak.fetch(request, folder).clips))
        audio_s = sum(clip.duration or 0.0 for clip in made)
        singles = [([clip], request, folder) for clip in espeak.plan(request)[:BASELINE_CLIPS]]
        baseline_s = seconds(lambda: map_fresh(espeak._speak_part, singles, title="baseline"))
    report("synthetic corpus", audio_s / ours_s, "× real time", 200)
    report("synthetic corpus, against one process a clip", baseline_s / BASELINE_CLIPS * len(made) / ours_s, "×", 5)


if __name__ == "__main__":
    main()
