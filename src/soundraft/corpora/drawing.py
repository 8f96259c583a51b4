"""Our splits drawn out of one split of a source while it is read.

A clip's split depends on the seed and its group alone. So it is the same however much of the source is read, and what
one request takes for training no other one takes for its test.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from soundraft.dataset.splits import Key, hashed_split, origin_keys
from soundraft.manifest import Split


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
        self._seen: set[Key] = set()
        self.groups: Counter[str] = Counter()

    def split_of(self, name: str, fields: Mapping[str, Any]) -> Split:
        """The split of a clip with the id `name`."""
        group, *_ = self._keys(name, fields)
        if group not in self._seen:
            self._seen.add(group)
            self.groups[group[0]] += 1
        split = hashed_split(self._seed, group)
        return split if split in self._served else self._served[0]

    def _keys(self, name: str, fields: Mapping[str, Any]) -> list[Key]:
        text = fields.get("text") if fields["task"] == "asr" else None
        source = fields["metadata"].get("source") if self._by_source else None
        return [*origin_keys(fields.get("speaker"), source, text), ("audio", name)]
