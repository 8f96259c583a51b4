"""The verifier of a speech recognition run, from its params and what may be known of its language."""

from collections.abc import Mapping, Sequence
from typing import Any

from soundraft.rewards import transcript_verifier
from soundraft.rewards.base import Verifier
from soundraft.runtime import UserError

_REPLAY = "--replay on the command line, replay_dataset in Python"


def build(reward: Mapping[str, Any], *, texts: Sequence[str]) -> Verifier:
    """The verifier that the section `reward` of the params describes.

    Args:
        reward: the section, as a dict.
        texts: transcripts of the start corpus, for words and language of `kind: unsupervised`; never those of the
            target, which such a run must not know.

    Raises:
        UserError: when it is unsupervised with parts that need texts, and the start corpus has none.
    """
    try:
        return transcript_verifier(reward, texts=texts)
    except UserError as error:
        where = f"reward.unsupervised, with {len(texts)} texts of corpus.start"
        raise UserError(f"{where}: {error}; a run by name takes them from its replay dataset ({_REPLAY})") from error
