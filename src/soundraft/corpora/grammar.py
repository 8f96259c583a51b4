"""Texts of the synthetic corpus: digit strings and short commands to a home or a robot, 52 words in all."""

import hashlib
import random

from soundraft.manifest import Split

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_STRING_LENGTHS = (3, 4, 5, 6)
DIGIT_STRING_SHARE = 0.5

SLOTS: dict[str, tuple[str, ...]] = {
    "digit": DIGITS,
    "switch": ("on", "off"),
    "device": ("light", "lamp", "heater", "fan", "radio"),
    "room": ("kitchen", "bedroom", "garage", "office"),
    "opening": ("door", "window", "curtain"),
    "motion": ("open", "close"),
    "way": ("left", "right", "forward", "back"),
    "level": ("degrees", "percent"),
    "time": ("seconds", "minutes"),
    "color": ("red", "green", "blue"),
    "object": ("ball", "box", "cup"),
}
COMMANDS = (
    "turn {switch} the {room} {device}",
    "turn the {device} {switch} in the {room}",
    "{motion} the {room} {opening}",
    "set the {room} {device} to {digit} {digit} {level}",
    "robot move {way} {digit} meters",
    "robot turn {way} and move {way}",
    "robot pick the {color} {object}",
    "wait {digit} {digit} {time} and stop",
)

# Every text belongs to one split for ever, by its hash: no test text can appear in any training split.
_SPLIT_SHARES: tuple[tuple[Split, float], ...] = (("test", 0.15), ("validation", 0.15), ("train", 0.70))


def text_split(text: str) -> Split:
    """The one split in which this text may appear."""
    position = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    for split, share in _SPLIT_SHARES:
        if position < share:
            return split
        position -= share
    return "train"


def draw_text(rng: random.Random, split: Split) -> str:
    """A random text of the grammar that belongs to `split`."""
    while True:
        text = _digit_string(rng) if rng.random() < DIGIT_STRING_SHARE else _command(rng)
        if text_split(text) == split:
            return text


def vocabulary() -> list[str]:
    """Every word that the grammar can produce, sorted."""
    fixed = (word for command in COMMANDS for word in command.split() if not word.startswith("{"))
    return sorted({*fixed, *(word for words in SLOTS.values() for word in words)})


def _digit_string(rng: random.Random) -> str:
    return " ".join(rng.choices(DIGITS, k=rng.choice(DIGIT_STRING_LENGTHS)))


def _command(rng: random.Random) -> str:
    words = rng.choice(COMMANDS).split()
    return " ".join(rng.choice(SLOTS[word[1:-1]]) if word.startswith("{") else word for word in words)
