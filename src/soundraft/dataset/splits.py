"""Which split a group of clips belongs to, when the source does not say."""

from soundraft import runtime
from soundraft.manifest import Split

_TEST_SHARE = 0.1
_VALIDATION_SHARE = 0.1


def hashed_split(group: str) -> Split:
    """A split by a stable hash: 80 % train, 10 % validation, 10 % test, the same on every machine."""
    position = runtime.derive_seed("split", group) / 2**63
    if position < _TEST_SHARE:
        return "test"
    return "validation" if position < _TEST_SHARE + _VALIDATION_SHARE else "train"
