"""The keys of a declaration, read one by one: what is taken is honoured, what is left over is refused by name."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Taken:
    """A value, and the dotted path at which it stands."""

    value: Any
    place: str


@dataclass
class Gathered:
    """What a declaration says, in the words of the section `classification` of params.yaml.

    Attributes:
        values: by the section's dotted key.
        places: by the same key, where the declaration says it.
        problems: what cannot be honoured, a line each.
        notes: what a person should know of how it is honoured.
        dropped: rows are dropped that lack these: audio, target.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def put(self, ours: str, taken: Taken, value: Any = None) -> None:
        """Set a key of the section, to another value than the one that was taken where that is given."""
        self.values[ours] = taken.value if value is None else value
        self.places[ours] = taken.place

    def refuse(self, place: str, reason: str) -> None:
        self.problems.append(f"{place}: {reason}")


class Keys:
    """One mapping of a declaration.

    Args:
        place: its dotted path; empty at the top.
        whose: what has these keys, for messages.
        but: keys of the mapping that somebody else reads.
    """

    def __init__(
        self, given: Any, place: str, gathered: Gathered, *, whose: str = "", but: Collection[str] = ()
    ) -> None:
        self.place = place
        self.whose = whose
        self.gathered = gathered
        self.known: list[str] = []
        self._left: dict[str, Any] = {}
        if isinstance(given, Mapping):
            self._left = {str(key): value for key, value in given.items() if key not in but}
        elif given is not None:
            gathered.refuse(place or "the declaration", f"got {given!r}; allowed: keys with values")

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def names_left(self) -> list[str]:
        """What nobody took yet."""
        return list(self._left)

    def take(self, *names: str) -> Taken | None:
        """The value under one of these names, which mean the same."""
        self.known += [name for name in names if name not in self.known]
        found = [Taken(self._left.pop(name), self.at(name)) for name in names if name in self._left]
        if len(found) > 1:
            self.gathered.refuse(found[1].place, f"means the same as {found[0].place}: give one of them")
        return found[0] if found else None

    def section(self, name: str, *, whose: str = "") -> "Keys | None":
        """The mapping under a name; `None` where it is not given or null."""
        taken = self.take(name)
        return (
            None if taken is None or taken.value is None else Keys(taken.value, taken.place, self.gathered, whose=whose)
        )

    def copy(self, names: Mapping[str, Sequence[str]], *, prefix: str = "", again: bool = False) -> None:
        """Put what stands under the names (each of ours with what others call it) into the section at `prefix`.

        Args:
            again: what is here may override what is said elsewhere; else that is refused.
        """
        for ours, spellings in names.items():
            taken = self.take(*spellings)
            if taken is None:
                continue
            said = self.gathered.places.get(prefix + ours)
            if said is not None and not again:
                self.gathered.refuse(taken.place, f"means the same as {said}: give one of them")
            else:
                self.gathered.put(prefix + ours, taken)

    def only(self, name: str, allowed: Sequence[Any], reason: str) -> None:
        """A key with one meaning here: another value is refused with the reason."""
        taken = self.take(name)
        # True == 1: a switch is no number
        if taken is not None and not any(taken.value == each and type(taken.value) is type(each) for each in allowed):
            self.gathered.refuse(taken.place, f"got {taken.value!r}; allowed: {_listed(allowed)} ({reason})")

    def one_of(self, taken: Taken | None, allowed: Mapping[Any, Any]) -> Any:
        """What a taken value stands for; `None` where nothing was taken, or something else, which is refused."""
        if taken is None:
            return None
        try:
            return allowed[taken.value]
        except (KeyError, TypeError):
            close = difflib.get_close_matches(str(taken.value), map(str, allowed), n=1, cutoff=0.7)
            meant = f"; did you mean {close[0]}?" if close else ""
            self.gathered.refuse(taken.place, f"got {taken.value!r}{meant}; allowed: {_listed(list(allowed))}")
            return None

    def end(self, reasons: Mapping[str, str] | None = None) -> None:
        """Refuse by name what nobody took; `reasons` say why of keys that people may expect."""
        for name in self._left:
            if name in (reasons or {}):
                self.gathered.refuse(self.at(name), (reasons or {})[name])
                continue
            close = difflib.get_close_matches(name, self.known, n=1, cutoff=0.7)
            meant = f"; did you mean {close[0]}?" if close else ""
            has = f"{self.whose or self.place or 'a declaration'} has {', '.join(sorted(self.known)) or 'no keys'}"
            self.gathered.refuse(self.at(name), f"unknown key{meant}{'' if meant.endswith('?') else ';'} {has}")
        self._left = {}


def _listed(values: Sequence[Any]) -> str:
    return ", ".join("null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
                     for value in values)  # fmt: skip
