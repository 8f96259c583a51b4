"""Segments of a transcript as plain text, JSON or SubRip subtitles."""

import json
from collections.abc import Callable, Sequence

from soundraft.models.longform import Segment


def txt(segments: Sequence[Segment]) -> str:
    """A line for each segment."""
    return "".join(f"{segment.text}\n" for segment in segments)


def to_json(segments: Sequence[Segment]) -> str:
    """The whole text, and each segment with its times in seconds, to the millisecond."""
    rows = [
        {"start_s": round(segment.start_s, 3), "end_s": round(segment.end_s, 3), "text": segment.text}
        for segment in segments
    ]
    whole = " ".join(segment.text for segment in segments)
    return json.dumps({"text": whole, "segments": rows}, indent=2, ensure_ascii=False) + "\n"


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered from 1, times as `hh:mm:ss,mmm`, a blank line between.

    An arrow in a text would be taken for times.
    """
    return "\n".join(
        f"{number}\n{clock(segment.start_s)} --> {clock(segment.end_s)}\n{segment.text.replace('-->', '->')}\n"
        for number, segment in enumerate(segments, start=1)
    )


def clock(seconds: float) -> str:
    """`hh:mm:ss,mmm`, rounded to the millisecond; hours go on above 99."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"


WRITERS: dict[str, Callable[[Sequence[Segment]], str]] = {"txt": txt, "json": to_json, "srt": srt}
