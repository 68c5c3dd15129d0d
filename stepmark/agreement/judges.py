"""Judges beside people: who chooses as whom, and what length and place have to do with it.

Two things can be judged: pairs of solutions (choices `a`, `b`, `equal`), and critiques (is what one says right). For
each, a judge stands beside people in the same measure in which people stand beside each other, on the same things;
one figure without the other says little.

Shapes: `K` categories, `U` things that both of two labellers judged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from stepmark.intervals import Correlation, Share, share, spearman
from stepmark.judging import Choice, Judgement, majority

from .coefficient import RESAMPLES, Coefficient
from .kappa import cohen_kappa_of_labels

_CHOICES: tuple[Choice, ...] = ("a", "b", "equal")
_MEANING: Mapping[Choice, int] = {"a": 1, "equal": 0, "b": -1}


@dataclass(frozen=True, slots=True)
class GivenChoice:
    """One labeller's choice between the solutions of one pair."""

    labeller: str
    is_person: bool
    pair: tuple[int, int]
    """Ids of `a` and `b`."""
    problem: int
    """Pairs of one problem are not independent."""
    choice: Choice
    lengths: tuple[int, int]
    """Characters of `a` and `b`."""
    votes: Judgement | None = None
    """What a judge said in either order; None of people, and of a judge's choices that came by import."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What one labeller's choices go by."""

    labeller: str
    is_person: bool
    n_pairs: int
    ties: Share
    longer: Share
    """Choices of the longer solution, of those for either, where one is longer."""
    length: Correlation
    """Spearman's, of the choice with the difference in length."""
    flips: Share
    """Pairs of which it said otherwise once the solutions changed places; of nothing for people."""
    first_position: Share
    """Votes for the solution that stood first, of those for either; of nothing for people."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far two labellers, or two groups of them, choose alike."""

    first: str
    second: str
    n_things: int
    """What both judged; several people's words on one thing count each."""
    same: Share
    """The same choice, ties too. The interval takes each as independent; that of kappa does not."""
    decided: Share
    """The same choice, of those that neither left tied."""
    kappa: Coefficient
    """Cohen's (1960); its interval draws whole problems."""


@dataclass(frozen=True, slots=True)
class BesidePeople:
    """A judge beside people, and the people beside each other on the same pairs."""

    judge: str
    with_a_person: Likeness
    """With each person's choice by itself."""
    with_most_people: Likeness
    """With what most of the people chose of a pair; a draw is `equal`."""
    people: Likeness
    """Each two people with each other, on the pairs that the judge judged."""


@dataclass(frozen=True, slots=True)
class ChoiceReport:
    """All labellers of pairs, and how alike they choose."""

    habits: tuple[Habits, ...]
    """Of each labeller, people first."""
    judges: tuple[BesidePeople, ...]
    """Of each judge that has a pair in common with people."""
    people: Likeness
    """Each two people with each other, on all pairs."""
    each_two: tuple[Likeness, ...]
    """Each two labellers that share a pair, people first."""


def compare_choices(choices: Iterable[GivenChoice], *, resamples: int = RESAMPLES, seed: int = 0) -> ChoiceReport:
    """Sets labellers of pairs side by side.

    Args:
        choices: Of any labellers; of several choices of one labeller on one pair the last one counts.
        resamples: Draws of problems for the intervals of kappa; 0: none.
        seed: Of the draws.
    """
    by_labeller: dict[str, dict[tuple[int, int], GivenChoice]] = defaultdict(dict)
    for one in choices:
        by_labeller[one.labeller][one.pair] = one
    names = sorted(by_labeller, key=lambda name: (not _is_person(by_labeller[name]), name))
    people = {name: by_labeller[name] for name in names if _is_person(by_labeller[name])}
    judges = {name: by_labeller[name] for name in names if name not in people}
    most = _most_people(people)

    def like(first: str, second: str, both: Iterable[tuple[GivenChoice, GivenChoice]]) -> Likeness:
        return _likeness(first, second, list(both), resamples=resamples, seed=seed)

    def among_people(only: Mapping[tuple[int, int], GivenChoice] | None = None) -> Likeness:
        twos = (_shared(one, other) for one, other in combinations(people.values(), 2))
        return like(
            "a person", "another", (two for both in twos for two in both if only is None or two[0].pair in only)
        )

    return ChoiceReport(
        tuple(_habits(name, by_labeller[name].values()) for name in names),
        tuple(
            BesidePeople(
                name,
                like(name, "a person", (two for person in people.values() for two in _shared(given, person))),
                like(name, "most people", _shared(given, most)),
                among_people(given),
            )
            for name, given in judges.items()
            if given.keys() & most.keys()
        ),
        among_people(),
        tuple(
            like(first, second, both)
            for first, second in combinations(names, 2)
            if (both := list(_shared(by_labeller[first], by_labeller[second])))
        ),
    )


def _is_person(given: Mapping[tuple[int, int], GivenChoice]) -> bool:
    return next(iter(given.values())).is_person


def _most_people(
    people: Mapping[str, Mapping[tuple[int, int], GivenChoice]],
) -> dict[tuple[int, int], GivenChoice]:
    said: dict[tuple[int, int], list[GivenChoice]] = defaultdict(list)
    for given in people.values():
        for pair, one in given.items():
            said[pair].append(one)
    return {
        pair: GivenChoice("most people", True, pair, ones[0].problem, voted, ones[0].lengths)
        for pair, ones in said.items()
        if (voted := majority(one.choice for one in ones)) is not None
    }


def _shared(
    first: Mapping[tuple[int, int], GivenChoice], second: Mapping[tuple[int, int], GivenChoice]
) -> Iterator[tuple[GivenChoice, GivenChoice]]:
    for pair, one in first.items():
        if pair in second:
            yield one, second[pair]


def _likeness(
    first: str, second: str, both: Sequence[tuple[GivenChoice, GivenChoice]], *, resamples: int, seed: int
) -> Likeness:
    decided = [one.choice == other.choice for one, other in both if "equal" not in (one.choice, other.choice)]
    return Likeness(
        first,
        second,
        len(both),
        share(sum(one.choice == other.choice for one, other in both), len(both)),
        share(sum(decided), len(decided)),
        cohen_kappa_of_labels(
            [_CHOICES.index(one.choice) for one, _ in both],
            [_CHOICES.index(other.choice) for _, other in both],
            len(_CHOICES),
            groups=[one.problem for one, _ in both],
            resamples=resamples,
            seed=seed,
        ),
    )


def _habits(name: str, given: Iterable[GivenChoice]) -> Habits:
    n: Counter[str] = Counter()
    meant: list[int] = []
    longer_by: list[int] = []
    is_person = False
    for one in given:
        is_person = one.is_person
        difference = one.lengths[0] - one.lengths[1]
        meant.append(_MEANING[one.choice])
        longer_by.append(difference)
        n["ties"] += one.choice == "equal"
        n["decided"] += one.choice != "equal" and difference != 0
        n["longer"] += meant[-1] * difference > 0
        if one.votes is not None:
            n["turned"] += 1
            n["flips"] += one.votes.is_flip
            n["first"] += one.votes.n_first
            n["second"] += one.votes.n_second
    return Habits(
        name,
        is_person,
        len(meant),
        share(n["ties"], len(meant)),
        share(n["longer"], n["decided"]),
        spearman(meant, longer_by),
        share(n["flips"], n["turned"]),
        share(n["first"], n["first"] + n["second"]),
    )


# ------------------------------------------------------------ judges of critiques


@dataclass(frozen=True, slots=True)
class JudgedCritique:
    """What one judge and people say of one critique."""

    judge: str
    critic: str
    """Who wrote the critique."""
    problem: int
    said: bool | None
    """Whether the judge holds it to be right; None where its verdict cannot be read."""
    people: bool
    """Whether most people do; `partly` is not right."""
    length: int
    """Characters of the critique."""
    solution_length: int
    """Characters of the solution that it is about."""


@dataclass(frozen=True, slots=True)
class CritiqueJudgeReport:
    """How one judge judges critiques, beside people."""

    judge: str
    critic: str | None
    """Only critiques by this one; None: by all."""
    n: int
    right: Share
    """Critiques that people hold to be right."""
    unreadable: Share
    """Verdicts that cannot be read; they are in no other figure."""
    accuracy: Share
    """Verdicts that are people's too."""
    recall: Share
    """Wrong critiques that it refuses."""
    false_alarms: Share
    """Right critiques that it refuses."""
    kappa: Coefficient
    """Cohen's; its interval draws whole problems."""
    length: Correlation
    """Spearman's, of its `right` with the critique's length."""
    length_people: Correlation
    """The same of people's `right`: what of it may be deserved."""
    leniency_length: Correlation
    """Spearman's, of where it is too kind (1), as people (0), or too strict (-1), with the critique's length."""
    leniency_solution_length: Correlation
    """The same with the solution's length."""


def report_critique_judges(
    judged: Iterable[JudgedCritique], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[CritiqueJudgeReport]:
    """Holds judges of critiques against people: each judge on all critiques, then on each critic's."""
    by_judge: dict[str, dict[str, list[JudgedCritique]]] = defaultdict(lambda: defaultdict(list))
    for one in judged:
        by_judge[one.judge][one.critic].append(one)
    reports = []
    for judge, by_critic in sorted(by_judge.items()):
        every = [one for ones in by_critic.values() for one in ones]
        reports.append(_critique_judge(judge, None, every, resamples=resamples, seed=seed))
        if len(by_critic) > 1:
            reports += [
                _critique_judge(judge, critic, ones, resamples=resamples, seed=seed)
                for critic, ones in sorted(by_critic.items(), key=lambda item: (-len(item[1]), item[0]))
            ]
    return reports


def _critique_judge(
    judge: str, critic: str | None, ones: Sequence[JudgedCritique], *, resamples: int, seed: int
) -> CritiqueJudgeReport:
    read = [(one, one.said) for one in ones if one.said is not None]
    n = Counter((one.people, said) for one, said in read)
    lengths = [one.length for one, _ in read]
    kindness = [int(said) - int(one.people) for one, said in read]
    return CritiqueJudgeReport(
        judge=judge,
        critic=critic,
        n=len(ones),
        right=share(sum(one.people for one in ones), len(ones)),
        unreadable=share(len(ones) - len(read), len(ones)),
        accuracy=share(n[True, True] + n[False, False], len(read)),
        recall=share(n[False, False], n[False, False] + n[False, True]),
        false_alarms=share(n[True, False], n[True, False] + n[True, True]),
        kappa=cohen_kappa_of_labels(
            [int(said) for _, said in read],
            [int(one.people) for one, _ in read],
            2,
            groups=[one.problem for one, _ in read],
            resamples=resamples,
            seed=seed,
        ),
        length=spearman([int(said) for _, said in read], lengths),
        length_people=spearman([int(one.people) for one, _ in read], lengths),
        leniency_length=spearman(kindness, lengths),
        leniency_solution_length=spearman(kindness, [one.solution_length for one, _ in read]),
    )
