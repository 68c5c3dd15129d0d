"""What several judges say together, for whoever reviews: a vote, who cast it, and which steps they name."""

from collections.abc import Sequence

import streamlit as st

from db.votes import PairVotes, SolutionVotes

from .reading_page import escaped, matrix_html

CHOICES = {"a": "A", "b": "B", "equal": "equal", "both_bad": "both bad"}
"""A pair's choices in words."""


def vote_words(votes: Sequence[SolutionVotes]) -> str:
    """The vote of all judges in a sentence; each verdict that can be read counts once.

    >>> vote_words([SolutionVotes("judge", "one", n_fail=2, first_errors={1: 2}), SolutionVotes("judge", "two", 1)])
    '2 of 3 verdicts: wrong. 2 name step 2 as the first error.'
    """
    n_fail, n_pass = sum(one.n_fail for one in votes), sum(one.n_pass for one in votes)
    n = n_fail + n_pass
    if not n:
        return "No verdict can be read."
    if n_fail == n_pass:
        words = f"{n_fail} of {n} verdicts: wrong, as many right."
    else:
        words = f"{max(n_fail, n_pass)} of {n} verdicts: {'wrong' if n_fail > n_pass else 'right'}."
    named = _named(votes)
    if named:
        step = max(named, key=lambda index: (named[index], -index))
        words += f" {named[step]} name step {step + 1} as the first error."
    return words


def draw_votes(votes: Sequence[SolutionVotes]) -> None:
    """The vote on a solution, where more than one verdict was given."""
    if sum(one.n_pass + one.n_fail + one.n_unreadable for one in votes) < 2:
        return
    has_unreadable = any(one.n_unreadable for one in votes)
    rows = [
        (
            "",
            [
                f'<td><div class="sm-text">{escaped(one.critic or "unknown")}</div>'
                f"<small>{'' if one.kind == 'judge' else escaped(one.kind)}</small></td>",
                f'<td class="sm-cell">{_count(one.n_fail, "bad", "✕")}</td>',
                f'<td class="sm-cell">{_count(one.n_pass, "good", "✓")}</td>',
                *([f'<td class="sm-cell">{one.n_unreadable or "–"}</td>'] if has_unreadable else []),
            ],
        )
        for one in votes
    ]
    head = ["Judge", "Wrong", "Right", *(["Unread"] if has_unreadable else [])]
    _draw_vote(vote_words(votes), head, rows)


def named_html(votes: Sequence[SolutionVotes], n_segments: int) -> list[str]:
    """For each segment, how many verdicts name it as the first error; empty where fewer than two were given."""
    n = sum(one.n_pass + one.n_fail for one in votes)
    if n < 2:
        return []
    named = _named(votes)
    return [
        f'<span class="sm-label sm-bad" title="{named[index]} of {n} name it as the first error">'
        f"✕ {named[index]} of {n}</span>"
        if index in named
        else '<span class="sm-none">–</span>'
        for index in range(n_segments)
    ]


def draw_pair_votes(votes: Sequence[PairVotes]) -> None:
    """What models and programs chose between two solutions."""
    if not votes:
        return
    total: dict[str, int] = {}
    for one in votes:
        for choice, count in one.choices.items():
            total[choice] = total.get(choice, 0) + count
    most_first = sorted(total.items(), key=lambda item: -item[1])
    said = ", ".join(f"{count} × {CHOICES[choice]}" for choice, count in most_first)
    rows = [
        (
            "",
            [
                f'<td><div class="sm-text">{escaped(one.judge)}</div></td>',
                f'<td class="sm-cell">{", ".join(CHOICES[choice] for choice in sorted(one.choices))}</td>',
            ],
        )
        for one in votes
    ]
    _draw_vote(said, ["Judge", "Choice"], rows)


def _draw_vote(words: str, head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    st.html(
        f'<div class="sm-eyebrow">Vote of the judges</div><div class="sm-vote">{escaped(words)}</div>'
        + matrix_html(head, rows, is_slim=True)
    )


def _named(votes: Sequence[SolutionVotes]) -> dict[int, int]:
    named: dict[int, int] = {}
    for one in votes:
        for index, count in one.first_errors.items():
            named[index] = named.get(index, 0) + count
    return named


def _count(n: int, mood: str, shape: str) -> str:
    return f'<span class="sm-label sm-{mood}">{shape} {n}</span>' if n else '<span class="sm-none">–</span>'
