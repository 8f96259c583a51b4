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

    def __init__(self, seed: int, served: Sequence[Split]) -> None:
        """`served`: those of our splits that are drawn; what would be of another one is of the first."""
        self._seed, self._served = seed, served
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
        return [*origin_keys(fields.get("speaker"), fields["metadata"].get("source"), text), ("audio", name)]
