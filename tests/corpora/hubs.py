"""Repositories as the hub has them, made here: parquet files with the published columns, and the card beside them."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import yaml
from datasets import Audio, ClassLabel, Features, List, Value

from tests.conftest import tone

STRING, INT = Value("string"), Value("int64")
Rows = Sequence[Mapping[str, Any]]


def sound(kind: str = "WAV", seconds: float = 0.1, frequency_hz: float = 440.0, rate_hz: int = 8000) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, tone(seconds, rate_hz, 0.3, frequency_hz), rate_hz, format=kind)
    return stream.getvalue()


def audio(name: str, kind: str = "WAV", frequency_hz: float = 440.0) -> dict[str, Any]:
    return {"bytes": sound(kind, frequency_hz=frequency_hz), "path": name}


def rows(count: int, kind: str = "WAV", **columns: Any) -> list[dict[str, Any]]:
    """Rows 0, 1, … of a table. A column is a text with `{n}`, a function of n, or one value; each sounds different."""

    def value(column: Any, n: int) -> Any:
        return column(n) if callable(column) else column.format(n=n) if isinstance(column, str) else column

    sounds = (audio(f"{n}.wav", kind, 300 + 5 * n) for n in range(count))
    return [
        {"audio": sound} | {name: value(column, n) for name, column in columns.items()}
        for n, sound in enumerate(sounds)
    ]


def write(
    repo: Path, features: Features, configs: Mapping[str, Mapping[str, Rows]], *, converted: bool = False,
    group: int = 10, shards: int = 1,
) -> Path:  # fmt: skip
    """A repository: `configs[config][split]` are its rows, in row groups of `group`.

    `converted`: as the hub's own conversion has it, without a card.
    """
    for config, of_split in configs.items():
        for split, rows in of_split.items():
            folder = repo / config / split if converted else repo / config
            folder.mkdir(parents=True, exist_ok=True)
            size = max(1, -(-len(rows) // shards))
            for shard in range(shards):
                name = f"{shard:04d}" if converted else f"{split}-{shard:05d}-of-{shards:05d}"
                part = list(rows[shard * size : (shard + 1) * size])
                table = pa.Table.from_pylist(part, schema=features.arrow_schema)
                pq.write_table(table, folder / f"{name}.parquet", row_group_size=group)
    files = {
        config: [{"split": split, "path": f"{config}/{split}-*"} for split in of_split]
        for config, of_split in configs.items()
    }
    card = {"configs": [{"config_name": config, "data_files": found} for config, found in files.items()]}
    if not converted:
        (repo / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n", encoding="utf-8")
    return repo


def columns(texts: str = "", numbers: str = "", **others: Any) -> Features:
    """Columns of text and of whole numbers by their names, the audio, and others by their kind."""
    known = dict.fromkeys(texts.split(), STRING) | dict.fromkeys(numbers.split(), INT)
    return Features({"audio": Audio(), **known, **others})


def labels(names: str) -> ClassLabel:
    return ClassLabel(names=names.split())


INTENTS = labels(
    "abroad address app_error atm_limit balance business_loan card_issues cash_deposit direct_debit "
    "freeze high_value_payment joint_account latest_transactions pay_bill"
)
WORDS = labels("yes no up down left right on off stop go marvin sheila _unknown_ _silence_")
LANGUAGES = labels("cs-CZ de-DE en-AU en-GB en-US es-ES fr-FR it-IT ko-KR nl-NL pl-PL pt-PT ru-RU zh-CN")
EMOTIONS = labels("anger boredom disgust fear happiness neutral sadness")

LIBRISPEECH = columns("file text id", "speaker_id chapter_id")
FLEURS = columns(
    "path transcription raw_transcription language", "id num_samples",
    gender=labels("male female other"), lang_id=labels("en_us all"),
)  # fmt: skip
MINDS14 = columns(
    "path transcription english_transcription", intent_class=INTENTS,
    lang_id=LANGUAGES,
)  # fmt: skip
SPEECH_MASSIVE = columns(
    "id locale partition scenario_str intent_str utt annot_utt worker_id path speaker_id speaker_sex speaker_age",
    "scenario intent_idx", tokens=List(STRING), labels=List(STRING), is_validated=Value("bool"),
    slot_method={"slot": List(STRING), "method": List(STRING)}, judgments={"intent_score": List(Value("int8"))},
)  # fmt: skip
AUDIOSET = columns("video_id", labels=List(STRING), human_labels=List(STRING))
SPEECH_COMMANDS = columns("file speaker_id", label=WORDS, is_unknown=Value("bool"), utterance_id=Value("int8"))
ESC50 = columns("filename category take", "fold target src_file", esc10=Value("bool"))
EMODB = columns(age=Value("float32"), gender=labels("female male"), emotion=EMOTIONS)
VOXCELEB = columns("id speaker_id")
