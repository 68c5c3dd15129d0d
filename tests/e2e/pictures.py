"""The pictures of the documentation: every view, light, dark and on a phone, of the real app in a real browser.

    python -m tests.e2e.pictures docs/images        (or: make pictures)

The problems and solutions are GSM8K's, and one that shows a chain carried over to new numbers; the annotators and
what they say are simulated, and spread over two weeks. Pages are drawn on the day they are made.
"""

import datetime as dt
import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from db.accounts import create_account
from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.known_tasks import Known, add_known_tasks
from db.members import set_members
from db.models import Alternative, Annotation, Critique, Event, Problem, ProblemSource, Solution
from db.notes import write_note
from db.projects import create_project
from db.rounds import finish_round, start_round
from db.tasks import CritiqueAnswer, PairAnswer, Submission, Wanted, add_tasks, claim_tasks, submit
from exports.queries.importing import default_options, import_file
from exports.queries.sources import FORMATS
from stepmark.flows.verify import verify_solutions

from .conftest import CHROMIUM, FLAGS, ROOT, Lab

PASSWORD = "three brown horses"
LEAD = "annotator-1"
SHARE_RIGHT = {"annotator-2": 0.97, "annotator-3": 0.93, "annotator-4": 0.9, "annotator-5": 0.88, "annotator-6": 0.7}
"""How often each simulated annotator says what is so."""
LOOKS = {
    "": {"viewport": {"width": 1360, "height": 940}, "color_scheme": "light"},
    "-dark": {"viewport": {"width": 1360, "height": 940}, "color_scheme": "dark"},
    "-narrow": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "light",
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}


@dataclass(frozen=True)
class Shot:
    """A picture: who looks at which page, and what is done first."""

    name: str
    who: str
    """A name, or the part that somebody else does for each look."""
    path: str
    wait_for: str
    then: Callable[[Page], None] = lambda page: None


def main(folder: Path, *names: str) -> None:
    """Draws the pictures of these names, or all, into a folder."""
    with tempfile.TemporaryDirectory() as there, _browser() as browser:
        lab = Lab(Path(there))
        _fill(lab)
        lab.start()
        try:
            for shot in (shot for shot in SHOTS if not names or shot.name in names):
                for ending in LOOKS:
                    _draw(browser, lab, shot, ending, folder / f"{shot.name}{ending}.png")
                    print(f"{shot.name}{ending}", flush=True)
        finally:
            lab.kill()
            lab.engine.dispose()


def _press(*keys: str) -> Callable[[Page], None]:
    def press(page: Page) -> None:
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(80)

    return press


def _answer_and_look_at_evidence(page: Page) -> None:
    page.wait_for_timeout(3000)  # an answer that took no time is asked about
    _press("3", "3", "3", "Enter")(page)
    page.wait_for_selector(".sm-variant", timeout=20_000)


def _click(*texts: str) -> Callable[[Page], None]:
    """Clicks what says so, one after the other; each has its effect before the next."""

    def click(page: Page) -> None:
        for text in texts:
            page.get_by_text(text, exact=True).first.click()
            page.wait_for_timeout(1500)

    return click


def _open_first_row(page: Page) -> None:
    """Ticks the first row of the table, whose cells are drawn on a canvas."""
    box = page.get_by_test_id("stDataFrame").locator("canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 14, box["y"] + 52)
    page.wait_for_timeout(1500)


def _open_first_pair(page: Page) -> None:
    _click("Pairs")(page)
    _open_first_row(page)


SURFACE = "button:has-text('Submit')"
HEADING = "[data-testid=stMain] h1, [data-testid=stMain] h2"
SHOTS = (
    Shot("signin", "", "/", "form"),
    Shot("label", "steps", "/", SURFACE, _press("3", "3")),
    Shot("label-keys", "steps", "/", SURFACE, _press("?")),
    Shot("label-evidence", "evidence", "/", SURFACE, _answer_and_look_at_evidence),
    Shot("label-alternatives", "alternatives", "/", SURFACE, _press("3", "1")),
    Shot("label-pair", "pairs", "/", SURFACE, _press("a", "2")),
    Shot("label-critique", "critiques", "/", SURFACE),
    Shot("progress", "annotator-3", "/progress", HEADING),
    Shot("guidelines", "annotator-3", "/guidelines", HEADING),
    Shot("lead-dashboard", LEAD, "/dashboard", "[data-testid=stMetric]"),
    Shot("lead-queue", LEAD, "/adjudicate", HEADING),
    Shot("lead-adjudicate", LEAD, "/adjudicate", HEADING, _open_first_row),
    Shot("lead-pair", LEAD, "/adjudicate", HEADING, _open_first_pair),
    Shot("lead-solutions", LEAD, "/browse", HEADING),
    Shot("lead-browse", LEAD, "/browse", HEADING, _open_first_row),
    Shot("lead-rounds", LEAD, "/rounds", "[data-testid=stVegaLiteChart]"),
    Shot("lead-projects", LEAD, "/projects", HEADING, _click("Queue")),
    Shot("lead-team", LEAD, "/team", HEADING),
    Shot("lead-data", LEAD, "/data", HEADING),
    Shot("lead-people", LEAD, "/people", HEADING),
    Shot("account", "annotator-3", "/account", HEADING),
)


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        executable = CHROMIUM if Path(CHROMIUM).exists() else None
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


def _draw(browser: Browser, lab: Lab, shot: Shot, look_name: str, path: Path) -> None:
    context = browser.new_context(**LOOKS[look_name])  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(lab.address + shot.path)
    page.wait_for_selector("form")
    if shot.who:
        page.fill("input[name=name]", _name_of(shot.who, look_name))
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{lab.address}{shot.path}")
        page.wait_for_selector(shot.wait_for, timeout=30_000)
        page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
        shot.then(page)
    page.wait_for_timeout(1500)  # charts and fades come to rest
    page.screenshot(path=path)
    context.close()
    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def _fill(lab: Lab) -> None:
    """Everything that the pictures show."""
    engine = lab.engine
    data = ROOT / "examples/data"
    for name, file in (
        ("gsm8k", "gsm8k/test.jsonl"),
        ("gsm8k-model-solutions", "gsm8k_model_solutions/example_model_solutions.jsonl"),
        ("processbench", "processbench/gsm8k.json"),
    ):
        import_file(engine, FORMATS[name], data / file, options=default_options(FORMATS[name], data / file))
    verify_solutions(engine)
    create_account(engine, LEAD, role="admin", password=PASSWORD)
    for name in SHARE_RIGHT:
        create_account(engine, name, password=PASSWORD)
    with reading(engine) as session:
        rows = session.execute(
            sa.select(Solution.solution_id, Solution.problem_id, Solution.outcome, Solution.steps)
            .where(Solution.source.like("gsm8k_model%") | Solution.source.like("gsm8k-model%"))
            .order_by(Solution.problem_id, Solution.solution_id)
        ).all()
    chosen = [row for row in rows if 2 <= len(row.steps) <= 8 and row.outcome is not None]
    _steps(lab, chosen)
    _pairs(lab, chosen)
    _critiques(lab, chosen)
    _alternatives(lab, chosen)
    _evidence(lab)
    _rounds(lab, chosen)
    lead = find_or_create_annotator(engine, LEAD)
    write_note(
        engine,
        to_id=find_or_create_annotator(engine, "annotator-3"),
        author_id=lead,
        kind="message",
        text="Thank you for the comments. Steps that only repeat the question are neutral, not good.",
    )
    _spread(lab)


def _project(lab: Lab, name: str, members: list[str], **options: object) -> int:
    project_id = create_project(lab.engine, name, access="members", **options)  # type: ignore[arg-type]
    set_members(lab.engine, project_id, members)
    return project_id


def _people(lab: Lab, part: str) -> list[str]:
    """Somebody for each look: a task is answered once, and a draft stays."""
    names = [_name_of(part, look) for look in LOOKS]
    for name in names:
        create_account(lab.engine, name, password=PASSWORD)
    return names


def _name_of(who: str, look: str) -> str:
    """The name of a person, or of whoever does this part for this look."""
    parts = ("steps", "evidence", "alternatives", "pairs", "critiques")
    if who not in parts:
        return who
    return f"annotator-{10 + len(LOOKS) * parts.index(who) + list(LOOKS).index(look)}"


def _steps(lab: Lab, rows: list[sa.Row[tuple[int, int, bool | None, list[str]]]]) -> None:
    people = [*SHARE_RIGHT, *_people(lab, "steps")]
    settings = {"gold_share": 0.1, "usd_per_hour": 21.0}
    project_id = _project(lab, "GSM8K, first error", people, n_wanted=3, settings=settings)
    add_known_tasks(
        lab.engine,
        project_id,
        [
            Known(row.solution_id, {"labels": _labels_of(row)}, "The answer is right, and each step follows.")
            for row in rows[:60:6]
            if row.outcome
        ],
    )
    add_tasks(lab.engine, [(row.solution_id, 0.0) for row in rows[:60]], project_id=project_id)
    facts = {row.solution_id: row for row in rows}
    for name, share in SHARE_RIGHT.items():
        for number in range(34):
            if not _answer_one(lab, name, share, project_id, facts, number):
                break


def _labels_of(row: sa.Row[tuple[int, int, bool | None, list[str]]], error: int | None = None) -> list[int | None]:
    n = len(row.steps)
    if row.outcome and error is None:
        return [1] * (n + 1)
    first = error if error is not None else _draw_number(f"error {row.solution_id}", n)
    return [*([1] * first), -1, *([None] * (n - first))]


def _draw_number(text: str, n: int) -> int:
    """A number below `n` that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % n


def _answer_one(
    lab: Lab,
    name: str,
    share: float,
    project_id: int,
    facts: dict[int, sa.Row[tuple[int, int, bool | None, list[str]]]],
    number: int,
) -> bool:
    me = find_or_create_annotator(lab.engine, name)
    tasks = claim_tasks(lab.engine, me, n=1, project_id=project_id)
    if not tasks:
        return False
    task = tasks[0]
    row = next(row for row in facts.values() if tuple(row.steps) == tuple(task.steps))
    luck = _draw_number(f"{name} {number}", 1000) / 1000
    n = len(row.steps)
    error = None if luck < share else _draw_number(f"slip {name} {number}", n)
    labels = _labels_of(row, error)
    labels = [
        0 if label == 1 and _draw_number(f"0 {row.solution_id} {i}", 14) == 0 else label
        for i, label in enumerate(labels)
    ]
    durations = [2500 + _draw_number(f"ms {name} {number} {i}", 9000) for i in range(len(labels))]
    answer = submit(
        lab.engine,
        Submission(
            submission_id=f"{name}-{number}-{project_id}",
            task_id=task.task_id,
            annotator_id=me,
            token=task.token,
            finish_reason="found_error" if -1 in labels else "solution",
            labels=labels,
            unsure=frozenset({labels.index(-1)}) if -1 in labels and number % 5 == 0 else frozenset(),
            step_durations_ms=[
                ms if label is not None else None for ms, label in zip(durations, labels, strict=True)
            ],
            duration_ms=sum(durations),
            comment="the unit is lost on the way" if number % 11 == 3 else None,
            guideline="default",
        ),
    )
    assert answer.is_accepted, answer
    return True


def _pairs(lab: Lab, rows: list[sa.Row[tuple[int, int, bool | None, list[str]]]]) -> None:
    people = ["annotator-2", "annotator-3", *_people(lab, "pairs")]
    project_id = _project(lab, "GSM8K, which is better", people, kind="preference", n_wanted=5)
    by_problem: dict[int, dict[bool, int]] = {}
    for row in rows:
        by_problem.setdefault(row.problem_id, {}).setdefault(bool(row.outcome), row.solution_id)
    pairs = [found for found in by_problem.values() if len(found) == 2]
    add_tasks(
        lab.engine, [Wanted(pair[True], other_solution_id=pair[False]) for pair in pairs], project_id=project_id
    )
    for name in people[:2]:
        me = find_or_create_annotator(lab.engine, name)
        for number, task in enumerate(claim_tasks(lab.engine, me, n=6, project_id=project_id)):
            answer = submit(
                lab.engine,
                Submission(
                    submission_id=f"{name}-pair-{number}",
                    task_id=task.task_id,
                    annotator_id=me,
                    token=task.token,
                    finish_reason="solution",
                    pair=PairAnswer(
                        "first" if _draw_number(f"{name} {number}", 3) else "second", 1 + number % 3, ("correct",)
                    ),
                    duration_ms=24_000,
                ),
            )
            assert answer.is_accepted, answer


def _critiques(lab: Lab, rows: list[sa.Row[tuple[int, int, bool | None, list[str]]]]) -> None:
    people = ["annotator-2", "annotator-3", *_people(lab, "critiques")]
    project_id = _project(lab, "Critiques of GSM8K solutions", people, kind="critique", n_wanted=5)
    wrong = [row for row in rows if not row.outcome][:8]
    with writing(lab.engine) as session:
        critiques = [
            Critique(
                solution_id=row.solution_id,
                problem_id=row.problem_id,
                source="made",
                source_key=str(row.solution_id),
                kind="judge",
                critic="judge-model",
                text=f"Step 1 sets the quantities up as the question gives them.\n\nStep {len(row.steps)} takes the "
                "result of the step before for the answer, but the question asks for what is left after it.",
                verdict="fail",
                first_error=len(row.steps) - 1,
            )
            for row in wrong
        ]
        session.add_all(critiques)
        session.flush()
        wanted = [Wanted(one.solution_id, critique_id=one.critique_id) for one in critiques]
    add_tasks(lab.engine, wanted, project_id=project_id)
    for name in people[:2]:
        me = find_or_create_annotator(lab.engine, name)
        for number, task in enumerate(claim_tasks(lab.engine, me, n=4, project_id=project_id)):
            judgement = ("right", "partly", "wrong")[_draw_number(f"{name} {number}", 3)]
            answer = submit(
                lab.engine,
                Submission(
                    submission_id=f"{name}-critique-{number}",
                    task_id=task.task_id,
                    annotator_id=me,
                    token=task.token,
                    finish_reason="solution",
                    critique=CritiqueAnswer(judgement, judgement == "right", judgement != "wrong"),
                    duration_ms=31_000,
                ),
            )
            assert answer.is_accepted, answer


def _alternatives(lab: Lab, rows: list[sa.Row[tuple[int, int, bool | None, list[str]]]]) -> None:
    project_id = _project(
        lab, "Next steps", [*_people(lab, "alternatives")], mode="alternatives", n_wanted=len(LOOKS)
    )
    row = next(row for row in rows if len(row.steps) >= 4)
    texts = (
        "Now multiply what is left by the price of one to get the money made in a day.",
        "So the answer is what is left.",
        "Let us restate what the question asks before going on.",
    )
    with writing(lab.engine) as session:
        for number, text in enumerate(texts):
            session.add(
                Alternative(
                    solution_id=row.solution_id, step_index=2, source="made", source_key=str(number), text=text
                )
            )
    add_tasks(lab.engine, [Wanted(row.solution_id, step_index=2)], project_id=project_id)


def _evidence(lab: Lab) -> None:
    """A right answer by a wrong rule: it breaks as soon as the numbers change."""
    statement = "Paul has {} hats. He loses {} hats. He gives away half of the rest. How many has he now?"
    with writing(lab.engine) as session:
        for number, (has, loses) in enumerate(((11, 7), (30, 12), (50, 10))):
            session.add(
                Problem(
                    problem_id=900 + number,
                    statement_hash=f"{900 + number:032x}",
                    family=f"{900:032x}",
                    statement=statement.format(has, loses),
                    reference_answer=str((has - loses) // 2),
                    reference_trust=None if number == 0 else "template",
                    kind="original" if number == 0 else "template",
                    parent_id=None if number == 0 else 900,
                )
            )
            session.flush()
        session.add(ProblemSource(problem_id=900, source="made", source_key="hats"))
        session.add(
            Solution(
                solution_id=9000,
                problem_id=900,
                source="made",
                source_key="hats",
                generator="a model",
                text="11 - 7 = 4\n4 - 2 = 2",
                text_hash=f"{9000:032x}",
                steps=["11 - 7 = 4", "4 - 2 = 2"],
                answer="2",
                outcome=True,
            )
        )
    project_id = _project(lab, "Evidence", _people(lab, "evidence"), n_wanted=len(LOOKS))
    add_tasks(lab.engine, [(9000, 0.0)], project_id=project_id)


def _rounds(lab: Lab, rows: list[sa.Row[tuple[int, int, bool | None, list[str]]]]) -> None:
    """A loop that labels its own solutions, unverified, until a guard stops it; its figures are made up."""
    convincing = [row.solution_id for row in rows if not row.outcome]
    right = [row.solution_id for row in rows if row.outcome]
    figures = {
        "pass@1": (0.52, 0.58, 0.55, 0.43),
        "pass@16": (0.91, 0.9, 0.82, 0.66),
        "best of 16 by PRM": (0.77, 0.8, 0.74, 0.58),
        "distinct answers by problem": (5.8, 5.1, 3.4, 1.9),
        "rows trained on": (4000, 4000, 4000, 4000),
        "right by a wrong step": (0.04, 0.05, 0.11, 0.22),
    }
    guards = (
        (
            "verdicts right on the fixed set",
            (0.93, 0.92, 0.9, 0.87),
            0.85,
            "min",
            "Verdicts on the labelled set slip.",
        ),
        ("distinct answers by problem", (5.8, 5.1, 3.4, 1.9), 2.5, "min", "Answers become alike."),
        ("right by a wrong step", (0.04, 0.05, 0.11, 0.22), 0.15, "max", "Right answers come from wrong steps."),
    )
    for number in range(4):
        round_id = start_round(
            lab.engine, "self-labelled", number, plan={"model": f"round {number}", "labels": "its own", "seed": 5000}
        )
        readings = [
            {
                "name": name, "value": values[number], "bound": bound, "direction": direction, "words": words,
                "tripped": values[number] < bound if direction == "min" else values[number] > bound,
            }
            for name, values, bound, direction, words in guards
        ]  # fmt: skip
        tripped = [one["name"] for one in readings if one["tripped"]]
        finish_round(
            lab.engine,
            round_id,
            selected=[
                {"reason": "convincing wrong answers", "n": 160, "examples": convincing[3 * number : 3 * number + 3]},
                {"reason": "convincing right answers", "n": 24, "examples": right[3 * number : 3 * number + 3]},
                {"reason": "drawn at random, kept apart", "n": 16, "examples": right[20 + number : 21 + number]},
            ],
            metrics={name: values[number] for name, values in figures.items()},
            guards=readings,
            counts={"export": {"read": 4600, "kept": 4000, "dropped": {"duplicate": 420, "too easy": 180}}},
            stop_reason=f"{' and '.join(tripped)} out of bounds" if tripped else None,
        )


def _spread(lab: Lab) -> None:
    """Spreads what happened over the last two weeks, as it would have."""
    now = dt.datetime.now(dt.UTC)
    with writing(lab.engine) as session:
        for model, key in ((Annotation, Annotation.annotation_id), (Event, Event.event_id)):
            ids = session.scalars(sa.select(key).where(sa.literal(True)).order_by(key)).all()
            order = sorted(ids, key=lambda id_: _draw_number(f"when {id_}", 10**6))
            for rank, id_ in enumerate(order):
                when = now - dt.timedelta(days=13 * (1 - (rank + 1) / len(order)), minutes=2)
                session.execute(sa.update(model).where(key == id_).values(created_at=when))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
