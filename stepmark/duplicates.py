"""Problems that repeat one another, and problems that repeat a test set: signatures, and what counts as a repeat.

**Duplicate**: a problem with the same numbers in the same order as an earlier one and (almost) the same words.
Three rules find it, tried in this order:

- `exact`: the same words and signs, whatever the case, white space and sentence marks;
- `masked`: the same masked signature (`stepmark.problems.masked_signature`), so that the two differ only in how
  numbers are written, in hyphens and in plurals;
- `minhash`: a Jaccard similarity of the sets of word 5-grams at or above a threshold. MinHash (Broder 1997) finds
  the candidates, the similarity itself is exact.

Two problems with the same words and other numbers are one family and no duplicates: variants are wanted.

**Contaminated**: a problem that is, in any of these ways, a problem of a test set: the same words (`exact`), the same
family with whatever numbers (`family`), or 13 words in a row (`13-gram`; Brown et al. 2020, appendix C). A short
problem has no 13 words, hence the first two.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Literal

import numpy as np
from rensa import RMinHash

from .answers.words import NUMBER_WORDS, read_number_words
from .problems import masked_signature, normalise_statement

DuplicateRule = Literal["exact", "masked", "minhash"]
ContaminationRule = Literal["exact", "family", "13-gram"]

THRESHOLD = 0.7
"""Similarity from which on two problems with the same numbers are duplicates."""
LEAST_THRESHOLD = 0.6
"""Below it, MinHash would miss more than one pair in a hundred."""
_WORDS_OF_SHINGLE = 5
_WORDS_OF_OVERLAP = 13
_COMMON = 10
"""A 13-gram of more test problems than this is boilerplate and tells nothing."""
_HASHES, _BANDS = 128, 32
"""Signatures that agree in one of 32 bands of 4 are candidates: all but 1 in 5000 of those at similarity 0.7."""
_CHUNK = 2_000

_TOKEN = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_")
_SENTENCE_MARKS = frozenset(".,;:?!\"'")
_NUMBER = re.compile(rf"{NUMBER_WORDS.pattern}|\b(?:half|twice|thrice)\b|\d+(?:,\d{{3}})*(?:\.\d+)?|\.\d+", re.I)
_NAMED = {"half": "1/2", "twice": "2", "thrice": "3"}


def words_of(text: str) -> list[str]:
    """Words, numbers and signs of a statement, in lower case and without sentence marks.

    >>> words_of("Tom has 1,200 eggs. Is x-2 > 3.5?")
    ['tom', 'has', '1,200', 'eggs', 'is', 'x', '-', '2', '>', '3.5']
    """
    return _words(normalise_statement(text))


def _words(normalised: str) -> list[str]:
    return [token for token in _TOKEN.findall(normalised.casefold()) if token not in _SENTENCE_MARKS]


def numbers_of(text: str) -> tuple[str, ...]:
    """The numbers of a statement in order, each in one spelling.

    >>> numbers_of("Tom sells half of 1,200 eggs at $2.50, twice as many as thirty-two.")
    ('1/2', '1200', '5/2', '2', '32')
    """
    return _numbers(normalise_statement(text))


def _numbers(normalised: str) -> tuple[str, ...]:
    return tuple(_plain(match.group()) for match in _NUMBER.finditer(normalised))


def _plain(number: str) -> str:
    bare = number.casefold().replace(",", "")
    if bare.isdecimal() and bare.isascii():
        return bare.lstrip("0") or "0"
    if bare[-1].isdigit():
        # Python reads no number of thousands of digits, and no such number needs another spelling.
        return str(Fraction(bare)) if bare.isascii() and len(bare) < 100 else bare
    value = read_number_words(bare)
    return _NAMED.get(bare, bare) if value is None else str(value)


def shingles(words: Sequence[str], n: int = _WORDS_OF_SHINGLE) -> set[str]:
    """All runs of `n` words; of a shorter text, the text itself.

    >>> sorted(shingles("a b c d e f".split())), shingles(["a", "b"])
    (['a b c d e', 'b c d e f'], {'a b'})
    """
    if len(words) <= n:
        return {" ".join(words)}
    return {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}


def jaccard(left: set[str], right: set[str]) -> float:
    """The share of what two sets hold that they hold in common."""
    together = len(left | right)
    return len(left & right) / together if together else 1.0


# ------------------------------------------------------------ duplicates


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A problem that repeats an earlier one."""

    problem_id: int
    kept_id: int
    """The earlier one; it is no duplicate itself."""
    rule: DuplicateRule
    similarity: float
    """Jaccard similarity of the word 5-grams of the two, or of the one that links them."""


def find_duplicates(problems: Iterable[tuple[int, str]], *, threshold: float = THRESHOLD) -> list[Duplicate]:
    """Finds the problems that repeat an earlier one; the first of its kind is kept.

    Holds all statements in memory, and 256 bytes of signature for each.

    Args:
        problems: Ids and statements, in the order of preference.
        threshold: Of the rule `minhash`, at least `LEAST_THRESHOLD`.

    Returns:
        The duplicates, in the order of the problems.
    """
    found: dict[int, Duplicate] = {}
    first: dict[tuple[DuplicateRule, bytes], int] = {}
    left: dict[int, tuple[str, bytes]] = {}
    for problem_id, statement in problems:
        normalised = normalise_statement(statement)
        words, numbers = _words(normalised), _digest("\n".join(_numbers(normalised)))
        text = " ".join(words)
        keys: list[tuple[DuplicateRule, bytes]] = [
            ("exact", _digest(text)),
            ("masked", _digest(masked_signature(normalised)) + numbers),
        ]
        known = next((key for key in keys if key in first), None)
        if known is None:
            first.update(dict.fromkeys(keys, problem_id))
            left[problem_id] = text, numbers
        else:
            earlier = left[first[known]][0].split(" ")
            similarity = jaccard(shingles(words), shingles(earlier))
            found[problem_id] = Duplicate(problem_id, first[known], known[0], similarity)
    near = {one.problem_id: one for one in _near(list(left), list(left.values()), threshold)}
    for problem_id, one in found.items():
        if (other := near.get(one.kept_id)) is not None:
            found[problem_id] = Duplicate(problem_id, other.kept_id, one.rule, one.similarity)
    order = sorted({**found, **near}.items())
    return [one for _, one in order]


def _near(ids: Sequence[int], problems: Sequence[tuple[str, bytes]], threshold: float) -> list[Duplicate]:
    """The duplicates by similarity among problems, given by their words and the hash of their numbers."""
    found: list[Duplicate] = []
    runs_of = _candidate_runs(problems)
    kept_of_run: dict[int, list[int]] = {}
    grams: dict[int, set[str]] = {}
    for place in sorted(runs_of):
        mine = shingles(problems[place][0].split(" "))
        candidates = sorted({kept for run in runs_of[place] for kept in kept_of_run.get(run, ())})
        for kept in candidates:
            similarity = jaccard(mine, grams[kept])
            if similarity >= threshold:
                found.append(Duplicate(ids[place], ids[kept], "minhash", similarity))
                break
        else:
            grams[place] = mine
            for run in runs_of[place]:
                kept_of_run.setdefault(run, []).append(place)
    return found


def _candidate_runs(problems: Sequence[tuple[str, bytes]]) -> dict[int, list[int]]:
    """Places of problems that share a band of their signatures and their numbers, each with its runs of such."""
    chunks = []
    each = iter(problems)
    while chunk := list(islice(each, _CHUNK)):
        sets = [sorted(shingles(text.split(" "))) for text, _ in chunk]
        signatures = np.asarray(RMinHash.digests_from_token_sets(sets, _HASHES, 1), dtype=np.uint64)
        bands = signatures.reshape(len(chunk), _BANDS, _HASHES // _BANDS)
        # The numbers enter the key: thousands of problems of one template are no candidates for one another.
        keys = np.frombuffer(b"".join(numbers for _, numbers in chunk), dtype=np.uint64).reshape(-1, 1)
        for column in range(bands.shape[2]):
            keys = (keys ^ bands[:, :, column]) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
        chunks.append(keys)
    runs_of: dict[int, list[int]] = {}
    n_runs = 0
    for band in range(_BANDS if chunks else 0):
        keys = np.concatenate([one[:, band] for one in chunks])
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        is_same = ordered[1:] == ordered[:-1]
        for end in np.flatnonzero(is_same) + 1:
            if end < 2 or not is_same[end - 2]:
                n_runs += 1
                runs_of.setdefault(int(order[end - 1]), []).append(n_runs)
            runs_of.setdefault(int(order[end]), []).append(n_runs)
    return runs_of


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()


# ------------------------------------------------------------ contamination


@dataclass(frozen=True, slots=True)
class Overlap:
    """How a problem repeats a problem of a test set."""

    test_problem_id: int
    rule: ContaminationRule
    n_grams: int
    """13-grams in common with any problem of the test set."""


@dataclass(slots=True)
class TestSet:
    """The signatures of a test set's problems; ids are those that were added first with a signature."""

    __test__ = False  # for pytest: no test

    exact: dict[bytes, int] = field(default_factory=dict)
    families: dict[str, int] = field(default_factory=dict)
    n_grams: dict[int, int] = field(default_factory=dict)
    in_problems: Counter[int] = field(default_factory=Counter)
    """How many problems hold a 13-gram."""

    def add(self, problem_id: int, family: str, statement: str) -> None:
        """Adds a problem of the test set."""
        words = words_of(statement)
        self.exact.setdefault(_digest(" ".join(words)), problem_id)
        self.families.setdefault(family, problem_id)
        grams = _overlap_grams(words)
        self.in_problems.update(grams)
        for gram in grams:
            self.n_grams.setdefault(gram, problem_id)

    def overlap(self, family: str, statement: str) -> Overlap | None:
        """How a problem repeats one of these; None where it does not."""
        words = words_of(statement)
        shared = [
            gram for gram in _overlap_grams(words) if gram in self.n_grams and self.in_problems[gram] <= _COMMON
        ]
        if (known := self.exact.get(_digest(" ".join(words)))) is not None:
            return Overlap(known, "exact", len(shared))
        if (known := self.families.get(family)) is not None:
            return Overlap(known, "family", len(shared))
        if shared:
            return Overlap(min(self.n_grams[gram] for gram in shared), "13-gram", len(shared))
        return None


def _overlap_grams(words: Sequence[str]) -> set[int]:
    n = _WORDS_OF_OVERLAP
    return {hash(tuple(words[start : start + n])) for start in range(len(words) - n + 1)}
