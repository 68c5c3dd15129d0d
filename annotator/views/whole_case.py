"""A pair or a critique on which annotators differ: everybody's answer beside what it is about, decided as a whole.

Keys of a pair are those of labelling: a, b, e, x. Of a critique: 1, 2, 3 decide wrong, partly, right; 4 and 5 say
first what to decide of its verdict.
"""

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from annotator.workplace import Workplace
from db.adjudications import Criticism, Side, WholeAnswer, WholeCase, decide_whole, get_whole_case
from db.votes import pair_votes, solution_votes
from stepmark.errors import StepmarkError

from .case_page import draw_comments, draw_head, draw_next, draw_note, draw_problem, draw_send_back, names_of
from .judges import draw_pair_votes, draw_votes
from .reading_page import ENDS, OUTCOMES, draw_text, escaped, matrix_html, plain

_CHOICES = {
    "a": ("A is better", "a"),
    "b": ("B is better", "b"),
    "equal": ("Equal", "e"),
    "both_bad": ("Both bad", "x"),
}
"""Each choice of a pair: its words and its key."""
_JUDGEMENTS = {"wrong": ("✕", "bad", "red"), "partly": ("◆", "neutral", "orange"), "right": ("✓", "good", "green")}
"""Each judgement of a critique: shape, mood and Streamlit's colour, in the order of the keys 1, 2, 3."""
_STRENGTHS = {1: "slightly", 2: "clearly", 3: "far"}
_VERDICTS = {"pass": "the solution holds", "fail": "the solution fails", "unreadable": "none that can be read"}


@st.fragment
def draw(workplace: Workplace, task_id: int) -> None:
    """Draws the case."""
    case = get_whole_case(workplace.engine, task_id)
    assert case is not None
    draw_head(task_id, case.project)
    names = names_of(case.answers)
    left, right = st.columns([2, 5], gap="large")
    with left:
        _problem(case)
        ids = [side.solution_id for side in case.sides]
        if case.kind == "preference":
            draw_pair_votes(pair_votes(workplace.engine, *ids))
        else:
            draw_votes(solution_votes(workplace.engine, *ids))
        draw_send_back(workplace, task_id, case.answers, names)
    with right:
        st.html(_answers_html(case, names))
        draw_comments(case.answers, names)
        _sides(case, names)
    with st.container(key="decide"):
        _decide_bar(workplace, case, names)


def _sides(case: WholeCase, names: Mapping[int, str]) -> None:
    """What it is about, side by side: both solutions, or the solution and the critique of it."""
    if case.critique is None:
        n_same = _n_shared(*(side.steps for side in case.sides))
        if n_same:
            st.html('<div class="sm-eyebrow">Both begin</div>' + _steps_html(case.sides[0].steps[:n_same]))
        for name, side, column in zip("AB", case.sides, st.columns(2), strict=True):
            with column, st.container(border=True, height="stretch"):
                facts = [OUTCOMES[side.outcome], *([side.generator] if side.generator else [])]
                st.html(
                    f'<div class="sm-side"><b>{name}</b><span>{escaped(" · ".join(facts))}</span></div>'
                    + _side_html(side, start=n_same)
                )
        return
    [side] = case.sides
    first, second = st.columns(2)
    with first, st.container(border=True, height="stretch"):
        head = f'<div class="sm-side"><b>The solution</b><span>{OUTCOMES[side.outcome]}</span></div>'
        st.html(head + _side_html(side, blamed=case.critique.first_error))
    with second, st.container(border=True, height="stretch"):
        _draw_criticism(case.critique)
    for answer in case.answers:
        if answer.correction:
            draw_text(answer.correction, title=f"The critique as {names[answer.annotation_id]} would write it")


def _problem(case: WholeCase) -> None:
    with st.container(border=True):
        draw_text(case.statement, title="Problem")
        if case.reference_answer is not None:
            draw_text(case.reference_answer, title="Reference answer")


def _draw_criticism(critique: Criticism) -> None:
    by = f" by {critique.critic}" if critique.critic else ""
    st.html(
        f'<div class="sm-side"><b>The critique</b><span>{escaped(critique.kind + by)}</span></div>'
        f'<div class="sm-text">{escaped(critique.text)}</div>'
    )
    if critique.variant is not None:
        draw_text(critique.variant, title="It carries the solution over to this input")
        if critique.variant_answer is not None:
            draw_text(critique.variant_answer, title="The answer there")
    where = "" if critique.first_error is None else f", from step {critique.first_error + 1} on"
    mood = {"pass": "good", "fail": "bad"}.get(critique.verdict, "none")
    confirmed = {
        True: "The verifier holds this to be right.",
        False: "The verifier holds this to be wrong.",
        None: "",
    }
    st.html(
        f'<div class="sm-{mood}"><b>Verdict: {_VERDICTS[critique.verdict]}{where}</b></div>'
        f"<div>{confirmed[critique.is_confirmed]}</div>"
    )


def _n_shared(first: Sequence[str], second: Sequence[str]) -> int:
    """How many steps two solutions begin with alike; each keeps one of its own.

    >>> _n_shared(["a", "b", "c"], ["a", "b", "d"]), _n_shared(["a"], ["a", "b"])
    (2, 0)
    """
    n = 0
    while n < min(len(first), len(second)) - 1 and first[n] == second[n]:
        n += 1
    return n


def _side_html(side: Side, *, start: int = 0, blamed: int | None = None) -> str:
    if not side.steps:
        return f'<div class="sm-text">{escaped(side.text)}</div>'
    return _steps_html(side.steps[start:], start=start, answer=side.answer, blamed=blamed)


def _steps_html(steps: Sequence[str], *, start: int = 0, answer: str | None = None, blamed: int | None = None) -> str:
    rows = [(str(index + 1), text, index == blamed) for index, text in enumerate(steps, start=start)]
    if answer is not None:
        rows.append(("=", answer, blamed is not None and blamed == start + len(steps)))
    return matrix_html(
        [],
        [
            (
                "sm-differs" if is_blamed else "",
                [
                    f'<td class="sm-cell"><b>{number}</b></td>',
                    f'<td><div class="sm-text">{escaped(text)}</div></td>',
                ],
            )
            for number, text, is_blamed in rows
        ],
        is_slim=True,
    )


def _answers_html(case: WholeCase, names: Mapping[int, str]) -> str:
    is_pair = case.kind == "preference"
    head = (
        ["Annotator", "Choice", "Reasons", "Saw first"] if is_pair else ["Annotator", "Critique", "Verdict", "Helps"]
    )
    rows = [
        ("", [f'<td class="sm-cell">{escaped(names[one.annotation_id])}</td>', *_answer_cells(one, is_pair=is_pair)])
        for one in case.answers
    ]
    decision = case.decision
    if decision is not None:
        said = _CHOICES[decision.choice][0] if decision.choice else _judgement_html(decision.judgement)
        cells = [f"<td><b>Decided</b><br><small>by {escaped(decision.reviewer)}</small></td>", f"<td>{said}</td>"]
        cells += (
            ["<td></td>", "<td></td>"] if is_pair else [f"<td>{_claim(decision.is_verdict_right)}</td>", "<td></td>"]
        )
        rows.append(("sm-here", cells))
    return matrix_html(head, rows, is_slim=True)


def _answer_cells(answer: WholeAnswer, *, is_pair: bool) -> list[str]:
    if answer.said is None:
        return [_cell(ENDS.get(answer.finish_reason or "", "no answer")), *["<td>–</td>"] * 2]
    if not is_pair:
        return [
            f"<td>{_judgement_html(answer.judgement)}</td>",
            f"<td>{_claim(answer.is_verdict_right)}</td>",
            f"<td>{_claim(answer.is_helpful, yes='yes', no='no')}</td>",
        ]
    words = _CHOICES[answer.choice or ""][0]
    if answer.strength is not None and answer.choice in ("a", "b"):
        words = f"{answer.choice.upper()} is {_STRENGTHS[answer.strength]} better"
    return [
        f"<td><b>{escaped(words)}</b></td>",
        _cell(", ".join(answer.reasons) or "–"),
        _cell((answer.shown_first or "–").upper()),
    ]


def _cell(text: str) -> str:
    return f'<td><div class="sm-text">{escaped(text)}</div></td>'


def _judgement_html(judgement: str | None) -> str:
    shape, mood, _ = _JUDGEMENTS[judgement or ""]
    return f'<span class="sm-label sm-{mood}">{shape} {judgement}</span>'


def _claim(value: bool | None, *, yes: str = "right", no: str = "wrong") -> str:
    if value is None:
        return '<span class="sm-none">–</span>'
    mood, shape, word = ("good", "✓", yes) if value else ("bad", "✕", no)
    return f'<span class="sm-label sm-{mood}">{shape} {word}</span>'


def _decide_bar(workplace: Workplace, case: WholeCase, names: Mapping[int, str]) -> None:
    st.markdown(_state(case))
    draw_problem()
    note_key = f"note_{case.task_id}"
    with st.container(horizontal=True, vertical_alignment="center"):
        draw_note(note_key)
        if case.kind == "preference":
            for choice, (words, key) in _CHOICES.items():
                st.button(
                    words,
                    shortcut=key,
                    key=f"own_{choice}",
                    on_click=_store,
                    args=(workplace, case, note_key, None, {"choice": choice}),
                )
        else:
            with _group():
                is_right = _verdict_buttons(case)
            with _group():
                st.caption("The critique is", width="content")
                for number, (judgement, (shape, _, colour)) in enumerate(_JUDGEMENTS.items(), start=1):
                    said = {"judgement": judgement, "is_verdict_right": is_right}
                    st.button(
                        f":{colour}[{shape}] {judgement}",
                        shortcut=str(number),
                        key=f"own_{judgement}",
                        on_click=_store,
                        args=(workplace, case, note_key, None, said),
                    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Adopt the answer of", width="content")
        for answer in case.answers:
            if answer.said is not None:
                st.button(
                    plain(names[answer.annotation_id]),
                    key=f"adopt_{answer.annotation_id}",
                    on_click=_store,
                    args=(workplace, case, note_key, answer.annotation_id, _said(answer)),
                )
        draw_next(workplace, case.task_id, case.kind, is_done=case.decision is not None)


def _group() -> DeltaGenerator:
    """Things that stay together where the line breaks."""
    return st.container(horizontal=True, vertical_alignment="center", width="content")


def _state(case: WholeCase) -> str:
    if case.decision is not None:
        words = _CHOICES[case.decision.choice][0] if case.decision.choice else f"critique {case.decision.judgement}"
        state = f"**Decided: {words}** by {plain(case.decision.reviewer)}"
        return state + (f": {plain(case.decision.note)}" if case.decision.note else "")
    said = ", ".join(f"{count} × {_CHOICES.get(one, (one, ''))[0]}" for one, count in case.said.most_common())
    return f"**Undecided** · {said or 'nobody has judged it'}"


def _verdict_buttons(case: WholeCase) -> bool | None:
    """What is to be decided of the verdict: as decided before, else as most annotators say; None: nobody can tell."""
    assert case.critique is not None
    if case.critique.verdict == "unreadable":
        return None
    key = f"verdict_{case.task_id}"
    if key not in st.session_state:
        said = [one.is_verdict_right for one in case.answers if one.is_verdict_right is not None]
        most = None if said.count(True) == said.count(False) else said.count(True) > said.count(False)
        st.session_state[key] = most if case.decision is None else case.decision.is_verdict_right
    now: bool | None = st.session_state[key]
    st.caption("Its verdict is", width="content")
    for value, words, shortcut in ((False, "wrong", "4"), (True, "right", "5")):
        st.button(
            words,
            shortcut=shortcut,
            key=f"verdict_is_{words}",
            type="primary" if now is value else "secondary",
            help="Again: nobody can tell.",
            on_click=_turn,
            args=(key, value),
        )
    return now


def _turn(key: str, value: bool) -> None:
    st.session_state[key] = None if st.session_state[key] is value else value


def _said(answer: WholeAnswer) -> dict[str, str | bool | None]:
    if answer.choice is not None:
        return {"choice": answer.choice}
    return {"judgement": answer.judgement, "is_verdict_right": answer.is_verdict_right}


def _store(
    workplace: Workplace,
    case: WholeCase,
    note_key: str,
    adopted_from_id: int | None,
    said: Mapping[str, str | bool | None],
) -> None:
    try:
        decide_whole(
            workplace.engine,
            case.task_id,
            reviewer_id=workplace.annotator_id,
            adopted_from_id=adopted_from_id,
            note=st.session_state.get(note_key),
            **said,  # type: ignore[arg-type]
        )
    except StepmarkError as err:
        st.session_state["case_problem"] = str(err)
    else:
        st.session_state.pop(f"verdict_{case.task_id}", None)
