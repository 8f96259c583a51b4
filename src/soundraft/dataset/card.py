"""The card of a dataset, `README.md`: the header that the Hugging Face hub reads, then what a person wants to know."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from soundraft import files
from soundraft.audio import ecdc
from soundraft.dataset.table import Feature
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError

CARD_NAME = "README.md"
HASHES_KEY = "content_hashes"
TASK_CATEGORIES = {
    "asr": "automatic-speech-recognition",
    "classification": "audio-classification",
    "tts": "text-to-speech",
    "enhancement": "audio-to-audio",
}
MEANINGS = {
    "id": "name of the clip",
    "wav": "the audio: `bytes` of a file, and the `path` it had; empty where only tokens were given",
    "audio": "path of the token file (`.ecdc`), relative to this folder",
    "codes": "EnCodec codes [T][K]: frames, then codebooks",
    "text": "transcript",
    "label": "class",
    "speaker": "who speaks",
    "metadata": "whatever else is known of the clip, as JSON",
    "duration": "seconds",
    "sample_rate": "Hz, of the audio",
    "frames": f"T, {ecdc.FRAMES_PER_S} a second",
    "codebooks": "K",
    "features": "names of the D conditioning features, in the order of the columns of `cond`",
    "meta": "the sidecar's json: schema_version, fps, names, norm (min, max, mean, std of each feature)",
}
COND_MEANINGS = {
    True: "conditioning [T][D]: frames, then features",
    False: "path of the conditioning (`.npy`, [T, D]), relative to this folder; its `.json` lies beside it",
}
FORMS: dict[Materialize, str] = {
    "copy": "Token files and sidecars lie in this folder as copies: it can be moved as a whole.",
    "link": "Token files and sidecars lie in this folder as hard links: it can be copied as a whole.",
    "none": "Token files and sidecars lie elsewhere: the paths hold as long as neither they nor this folder move.",
    "embed": "Codes and conditioning stand in the tables: nothing else is needed, and they can be streamed.",
}


@dataclass
class SplitFacts:
    """What is counted while a split is written."""

    columns: dict[str, Feature]
    clips: int = 0
    seconds: float = 0.0
    frames: int = 0
    bytes: int = 0
    hash: str = ""
    features: Counter[str] = field(default_factory=Counter)
    codebooks: Counter[int] = field(default_factory=Counter)
    tasks: set[str] = field(default_factory=set)

    def count(self, row: Mapping[str, Any], task: str | None) -> None:
        self.clips += 1
        self.seconds += row["duration"]
        self.frames += row["frames"]
        self.features.update(row["features"])
        self.codebooks[row["codebooks"]] += 1
        if task is not None:
            self.tasks.add(task)


def write(folder: Path, name: str, materialize: Materialize, splits: Mapping[str, SplitFacts], *, codec: str) -> None:
    header = yaml.safe_dump(_header(name, splits), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{header}---\n\n# {name}\n",
        f"EnCodec tokens with frame-aligned conditioning. {FORMS[materialize]}\n",
        _counts(splits),
        _schema(next(iter(splits.values())).columns),
        _tokens(splits, codec),
        _use(materialize),
    ]
    files.write_text(folder / CARD_NAME, "\n".join(parts))


def read_hashes(folder: Path) -> dict[str, str]:
    """The content hash of each split, as the card states it.

    Raises:
        UserError: when there is no card of ours.
    """
    path = folder / CARD_NAME
    try:
        _, header, _ = path.read_text(encoding="utf-8").split("---\n", 2)
        return {str(split): str(value) for split, value in yaml.safe_load(header)[HASHES_KEY].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: no card with {HASHES_KEY} in its header") from error


def _header(name: str, splits: Mapping[str, SplitFacts]) -> dict[str, Any]:
    tasks = sorted({TASK_CATEGORIES[task] for facts in splits.values() for task in facts.tasks & set(TASK_CATEGORIES)})
    columns = next(iter(splits.values())).columns
    sizes = [{"name": split, "num_bytes": facts.bytes, "num_examples": facts.clips} for split, facts in splits.items()]
    return {
        "pretty_name": name,
        **({"task_categories": tasks} if tasks else {}),
        "dataset_info": {
            "features": [{"name": column} | _yaml_feature(feature) for column, feature in columns.items()],
            "splits": sizes,
            "dataset_size": sum(facts.bytes for facts in splits.values()),
        },
        HASHES_KEY: {split: facts.hash for split, facts in splits.items()},
    }


def _yaml_feature(feature: Feature) -> dict[str, Any]:
    """A column's type as `datasets` writes it into cards."""
    if feature["_type"] == "Audio":
        return {"dtype": {"audio": {"decode": feature["decode"]}}}
    if feature["_type"] == "List":
        inner = _yaml_feature(feature["feature"])
        return {"list": inner.get("dtype", inner)}
    return {"dtype": feature["dtype"]}


def _counts(splits: Mapping[str, SplitFacts]) -> str:
    lines = ["| split | clips | hours | frames | content hash (xxh3-128) |", "|---|---:|---:|---:|---|"]
    for split, facts in splits.items():
        lines.append(f"| {split} | {facts.clips} | {facts.seconds / 3600:.3f} | {facts.frames} | `{facts.hash}` |")
    clips, seconds, frames = (sum(getattr(f, key) for f in splits.values()) for key in ("clips", "seconds", "frames"))
    lines.append(f"| all | {clips} | {seconds / 3600:.3f} | {frames} | |")
    return "\n".join(lines) + "\n"


def _schema(columns: Mapping[str, Feature]) -> str:
    lines = ["## Columns\n", "| column | type | holds |", "|---|---|---|"]
    meanings = MEANINGS | {"cond": COND_MEANINGS["codes" in columns]}
    lines += [f"| `{name}` | {_type_name(feature)} | {meanings[name]} |" for name, feature in columns.items()]
    return "\n".join(lines) + "\n"


def _type_name(feature: Feature) -> str:
    if feature["_type"] == "List":
        return f"list of {_type_name(feature['feature'])}"
    return "audio file" if feature["_type"] == "Audio" else str(feature["dtype"])


def _tokens(splits: Mapping[str, SplitFacts], codec: str) -> str:
    codebooks: Counter[int] = sum((facts.codebooks for facts in splits.values()), Counter())
    features: Counter[str] = sum((facts.features for facts in splits.values()), Counter())
    rates = ", ".join(
        f"{count} codebooks ({kbps(count)} kbps): {clips} clips" for count, clips in sorted(codebooks.items())
    )
    checkpoint = f", checkpoint `{codec}`" if codec else ""
    lines = [
        "## Tokens and conditioning\n",
        f"EnCodec, {ecdc.SAMPLE_RATE_HZ} Hz, {ecdc.FRAMES_PER_S} frames a second{checkpoint}. {rates}.\n",
    ]
    if features:
        lines += ["| feature | clips |", "|---|---:|", *(f"| {name} | {n} |" for name, n in sorted(features.items()))]
    else:
        lines.append("No conditioning features.")
    return "\n".join(lines) + "\n"


def kbps(codebooks: int) -> float:
    return codebooks * ecdc.FRAMES_PER_S * ecdc.BITS_PER_CODE / 1000


def _use(materialize: Materialize) -> str:
    note = {
        "embed": "Codes and conditioning go along, since they are in the tables.",
        "none": "Only the tables go there, not the files that `audio` and `cond` name: build with `embed` to publish.",
    }.get(
        materialize,
        "Only the tables go there, not the files that `audio` and `cond` name: build with `embed`, or upload this "
        "whole folder with `hf upload you/name . --repo-type dataset`.",
    )
    return f"""## Use

```python
import datasets

dataset = datasets.load_from_disk("this/folder")
```

To publish it, which never happens by itself:

```python
dataset.push_to_hub("you/name")
```

{note}
"""
