"""Runs that were never trained: their folders hold what measured models would have left."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.clips.base import Clips, Loaded
from soundraft.clips.batches import Utterances
from soundraft.evaluation import report, samples
from soundraft.evaluation.page.run import Run
from soundraft.evaluation.predictions import write_results
from soundraft.evaluation.results import MODELS_NAME, Column, Result, described
from soundraft.evaluation.samples import Sample, Sound
from soundraft.evaluation.scores import score_texts
from soundraft.training import raft
from soundraft.training.selection import Sample as Drawn
from tests.evaluation.answers import BOOTSTRAP, CLIPS, text_result

RATE_HZ = 8000
HOSTILE = '<script>alert("no")</script> & "quoted" text'


def text_results() -> list[Result]:
    """RAFT gets better, a control stays; the answer to one clip would be a script, were it not escaped."""
    found = [text_result("start", 0, 80), text_result("raft", 1, 60), text_result("raft", 2, 20)]
    found.append(text_result("sft", 2, 76))
    last = found[2].scores
    answers = [HOSTILE, *last.predictions[1:]]
    hostile = score_texts(ids=last.ids, references=last.known, hypotheses=answers, normalizer=str)
    return [*found[:2], replace(found[2], scores=hostile), found[3]]


def run(folder: Path, results: Sequence[Result], columns: Sequence[Column], **about: Any) -> Run:
    """Its folder, and what the page asks of it."""
    chosen = report.chosen_clips(results, seed=0)
    facts = [{"speaker": f"<b>s{n % 3}</b>", "snr_db": float(n % 20)} for n in range(CLIPS)]
    ids = results[0].scores.ids
    clips = Clips(ids, lambda index: b"", [dict(each) for each in facts])
    lengths = [1 + n / CLIPS for n in range(CLIPS)]
    report.write_clips(folder, Loaded(clips, Utterances([], [], []), [], lengths, []), chosen)
    write_results(folder / "predictions.parquet", results)
    known = {"split": "test", "seed": BOOTSTRAP.seed, "bootstrap_samples": BOOTSTRAP.samples}
    known |= {"notes": ["a **strong** note <i>"]}
    files.write_json(folder / MODELS_NAME, known | described(results, columns, BOOTSTRAP))
    samples.write(
        folder / "samples", [Sound(Sample(name, "input"), _tone(n), RATE_HZ) for n, name in enumerate(chosen)]
    )
    cycles = {number: folder / "cycles" / f"{number:02d}" for number in (1, 2)}
    for number, place in cycles.items():
        rng = np.random.default_rng(number)
        drawn = [
            Drawn(clip, n, f"answer {n % 3}", float(rng.random()), {}, reason="not drawn" if n else "kept")
            for clip in range(4) for n in range(5)
        ]  # fmt: skip
        raft.write(place / "rollouts.parquet", drawn, Utterances(ids[:4], [], []))
    return Run(folder, cycles, "a run", **about)


def _tone(number: int) -> np.ndarray:
    return np.float32(0.3) * np.sin(
        2 * np.pi * (200 + 50 * number) * np.arange(RATE_HZ // 2) / RATE_HZ, dtype=np.float32
    )
