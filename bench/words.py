"""Whether the numbered words of a scripted answer all came, once each and in order."""

import itertools
import re
from dataclasses import dataclass

WORD = re.compile(r"word(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How many of the words are wrong, and in which way."""

    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    foreign: int = 0
    """Pieces of text that are none of the words, or words that were never said."""

    @property
    def intact(self) -> bool:
        """Whether the answer came exactly as it was said."""
        return self == Verdict()

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            reordered=self.reordered + other.reordered,
            foreign=self.foreign + other.foreign,
        )


def judge(text: str, count: int) -> Verdict:
    """Hold *text* against ``word1 word2 … word<count>``."""
    pieces = text.split()
    matches = [WORD.fullmatch(piece) for piece in pieces]
    numbers = [int(match[1]) for match in matches if match is not None]
    said = [number for number in numbers if 1 <= number <= count]
    once = list(dict.fromkeys(said))
    return Verdict(
        lost=count - len(once),
        doubled=len(said) - len(once),
        reordered=sum(after < before for before, after in itertools.pairwise(once)),
        foreign=len(pieces) - len(said),
    )
