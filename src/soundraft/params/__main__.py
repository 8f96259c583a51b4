"""`python -m soundraft.params`: write above each key of params.yaml what it means, from the sections' descriptions."""

import inspect
import textwrap

from soundraft import files
from soundraft.params import PARAMS_PATH
from soundraft.params.base import about, fields_of, is_section
from soundraft.params.sections import Params


def with_comments(text: str) -> str:
    """params.yaml with the comments that belong above its keys, and no others."""
    comments = _comments()
    lines, path = _wrapped(inspect.cleandoc(Params.__doc__ or ""), ""), list[str]()
    for line in text.splitlines():
        if not line.strip():
            lines.append(line)
        elif not line.lstrip().startswith("#"):
            indent = line[: len(line) - len(line.lstrip())]
            path = [*path[: len(indent) // 2], line.strip().split(":")[0]]
            lines += [*_wrapped(comments.get(".".join(path), ""), indent), line]
    return "\n".join(lines) + "\n"


def _comments() -> dict[str, str]:
    """By key; the keys of a section that stands in two places are described in the first."""
    comments: dict[str, str] = {}
    first: dict[object, str] = {}
    again: list[str] = []
    for key, field in fields_of(Params):
        if not key.startswith(tuple(again)):
            comments[key] = about(field)
            if is_section(field) and first.setdefault(field.annotation, key) != key:
                comments[key] += f" The keys are those of {first[field.annotation]}."
                again.append(f"{key}.")
    return comments


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 120, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


if __name__ == "__main__":
    files.write_text(PARAMS_PATH, with_comments(PARAMS_PATH.read_text(encoding="utf-8")))
