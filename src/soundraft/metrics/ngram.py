"""How likely a sequence of words or characters is in the language of some texts."""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from enum import Enum


class Mark(Enum):
    """What no text contains: the beginning and the end of a sentence, and any token not seen in training."""

    START = "start"
    END = "end"
    UNKNOWN = "unknown"


Context = tuple[Hashable, ...]


class NGram:
    """An n-gram model with interpolated Witten-Bell smoothing.

    p(w | h) = (c(h, w) + T(h) · p(w | h′)) / (c(h) + T(h)), where h′ is the context h without its oldest token, T(h)
    the number of different tokens seen after h; below the single tokens lies the uniform distribution over all
    outcomes. Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1998, section 2.6.

    Stored as in ARPA files: the probability of each n-gram of the training texts, and for each context the factor
    T(h) / (c(h) + T(h)) on the shorter context's probability for all others.

    Attributes:
        vocabulary: the tokens of the training texts.
        outcomes: how many things can come next: these, the end, and the unknown token.
    """

    def __init__(self, counts: dict[Context, Counter[Hashable]], order: int) -> None:
        """`counts` of the tokens after each context of 0 to `order` − 1 tokens; see `train`."""
        self.order = order
        self.vocabulary = frozenset(counts[()]) - {Mark.END}
        self.outcomes = len(self.vocabulary) + 2
        counts[()][Mark.UNKNOWN] = 0
        probs: dict[Context, dict[Hashable, float]] = {}
        self._log_factors: dict[Context, float] = {}
        for context in sorted(counts, key=len):  # what follows a context also follows the shorter one, done before it
            followers = counts[context]
            total, types = followers.total(), sum(times > 0 for times in followers.values())
            shorter = probs[context[1:]] if context else dict.fromkeys(followers, 1 / self.outcomes)
            probs[context] = {
                token: (times + types * shorter[token]) / (total + types) for token, times in followers.items()
            }
            self._log_factors[context] = math.log(types / (total + types))
        self._log_probs = {
            context: {token: math.log(prob) for token, prob in followers.items()}
            for context, followers in probs.items()
        }

    @classmethod
    def train(cls, sentences: Iterable[Sequence[Hashable]], order: int) -> "NGram":
        """Count the tokens of `sentences`: words of a list, or the characters of a string.

        Raises:
            ValueError: when there is no sentence, or `order` is below 1.
        """
        if order < 1:
            raise ValueError(f"the order of an n-gram model must be 1 or more, not {order}")
        counts: dict[Context, Counter[Hashable]] = defaultdict(Counter)
        for sentence in sentences:
            history = (Mark.START, *sentence)
            for position, token in enumerate((*sentence, Mark.END), start=1):
                for length in range(min(order, position + 1)):
                    counts[history[position - length : position]][token] += 1
        if not counts:
            raise ValueError("no sentence to learn a language model from")
        return cls(dict(counts), order)

    def score_next(self, context: Sequence[Hashable], token: Hashable) -> float:
        """Natural logarithm of p(token | context).

        Args:
            context: what precedes the token, from the sentence's beginning; the last `order` − 1 tokens do, too.
            token: `Mark.END` asks for the end of the sentence; a token outside the vocabulary is `Mark.UNKNOWN`.
        """
        if token not in self._log_probs[()]:
            token = Mark.UNKNOWN
        kept = self.order - 1
        known = tuple(context[len(context) - kept :]) if len(context) >= kept else (Mark.START, *context)
        factors = 0.0
        while True:
            followers = self._log_probs.get(known)
            if followers is not None:
                if token in followers:
                    return factors + followers[token]
                factors += self._log_factors[known]
            known = known[1:]

    def log_prob(self, tokens: Sequence[Hashable]) -> float:
        """Natural logarithm of the probability of a whole sentence, its end included."""
        kept = self.order - 1
        inside = sum(self.score_next(tokens[max(0, at - kept) : at], token) for at, token in enumerate(tokens))
        return inside + self.score_next(tokens, Mark.END)
