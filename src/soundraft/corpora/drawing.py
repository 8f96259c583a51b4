"""Our splits drawn out of one split of a source while it is read.

A clip's split depends on the seed and its group alone. So it is the same however much of the source is read, and what
one request takes for training no other one takes for its test. A clip that is tied to an earlier one of another split,
as by the same recording under two speakers' names, is set aside.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from soundraft.dataset.splits import Key, hashed_split, origin_keys
from soundraft.manifest import Split
from soundraft.parallel import BadClip


class Drawing:
    """The splits of the clips of one split of a source.

    Attributes:
        groups: how many different groups there were so far, of each kind.
    """

    def __init__(self, seed: int, served: Sequence[Split], *, by_source: bool) -> None:
        """Draw among some of our splits.

        Args:
            served: the splits that are drawn; what would be of another one is of the first.
            by_source: whether `metadata["source"]` names the source recording; it may be any column of that name.
        """
        self._seed, self._served, self._by_source = seed, served, by_source
        self._first: dict[Key, tuple[str, Split]] = {}
        self.groups: Counter[str] = Counter()

    def split_of(self, fields: Mapping[str, Any], content: str) -> Split:
        """The split of a clip whose audio has the hash `content`.

        Raises:
            BadClip: when its source or its audio is an earlier clip's of another split.
        """
        keys = self._keys(fields, content)
        drawn = hashed_split(self._seed, keys[0])
        split = drawn if drawn in self._served else self._served[0]
        for key in keys[1:]:
            first, other = self._first.get(key, ("", split))
            if other != split:
                raise BadClip(f"same {key[0]} as {first}, which is of {other}; its {keys[0][0]} is of {split}")
        self.groups[keys[0][0]] += keys[0] not in self._first
        for key in keys:
            self._first.setdefault(key, (fields["id"], split))
        return split

    def _keys(self, fields: Mapping[str, Any], content: str) -> list[Key]:
        """What ties a clip to others; the first one is its group."""
        text = fields.get("text") if fields["task"] == "asr" else None
        source = fields["metadata"].get("source") if self._by_source else None
        return [*origin_keys(fields.get("speaker"), source, text), ("content", content)]
