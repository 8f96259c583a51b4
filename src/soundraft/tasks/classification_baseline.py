"""Audio classification before RAFT: quality of the start model, its speed and memory on this machine."""

import time
from pathlib import Path
from statistics import median
from typing import Any

from soundraft import runtime
from soundraft.audio import io
from soundraft.evaluation.classification import scores
from soundraft.models.classifier import AudioClassifier
from soundraft.models.classifier_files import load_classifier
from soundraft.models.decoding import transcribe
from soundraft.parallel import progress_over
from soundraft.params.sections import Params
from soundraft.tasks.classification import predict
from soundraft.tasks.labelled import Heard, LabelledClips, compute_features, from_dataset, hear, inputs_of


def baseline(params: Params, model: Path, dataset: Path) -> tuple[dict[str, float], dict[str, Any], str]:
    """Quality, what the machine has to do with it, and both for a person."""
    classifier = load_classifier(model)
    target = params.classification.target
    heard = hear(from_dataset(dataset / "target", "validation"), classifier, target=target, title="features")
    found = scores(predict(classifier, heard, target=target))
    quality = {"accuracy_validation": found.accuracy, "uar_validation": found.macro.recall, "ece_validation": found.ece}
    options = params.benchmark
    machine = _speed(classifier, heard, clips=options.clips, warmup=options.warmup, repeats=options.repeats)
    machine |= {"peak_memory_gib": runtime.peak_memory_bytes() / 2**30}
    told = (
        f"accuracy {found.accuracy:.1%}, UAR {found.macro.recall:.1%} (validation); "
        f"{machine['clips_per_s']:.0f} clips/s from audio to label, {machine['network_clips_per_s']:.0f} with features "
        f"at hand; latency p50 {1000 * machine['latency_p50_s']:.1f} ms"
    )
    return quality, machine, told


def _speed(classifier: AudioClassifier, heard: Heard, *, clips: int, warmup: int, repeats: int) -> dict[str, Any]:
    """Medians over the repeats: from the bytes of audio files to labels, one clip at a time; the network in batches."""
    part = heard.clips.part(range(min(clips, len(heard.clips))))
    ready = heard.utterances.part(range(len(part)))
    alone: list[list[float]] = []
    network: list[float] = []
    passes = progress_over(range(warmup + repeats), total=warmup + repeats, title="benchmark", unit="pass")
    for number in passes:
        latencies = [_latency(classifier, part, index) for index in range(len(part))]
        began = time.perf_counter()
        transcribe(classifier, ready)
        if number >= warmup:
            alone.append(latencies)
            network.append(time.perf_counter() - began)
    return {
        "latency_p50_s": median(median(each) for each in alone),
        "clips_per_s": len(part) / median(map(sum, alone)),
        "network_clips_per_s": len(part) / median(network),
    }


def _latency(classifier: AudioClassifier, clips: LabelledClips, index: int) -> float:
    audio = clips.audio(index)
    began = time.perf_counter()
    samples, rate_hz = io.parse(audio)
    features = compute_features(classifier, samples, rate_hz)
    whole = classifier.with_side(features, inputs_of(clips.facts[index], classifier))
    classifier.greedy(classifier.encode([whole]))
    return time.perf_counter() - began
