"""Accounts, sign-ins and invitations on both databases."""

import threading

import pytest
import sqlalchemy as sa

from db import accounts, invitations, sign_ins
from db.connect import reading, writing
from db.models import (
    Account,
    Annotation,
    Annotator,
    Draft,
    Event,
    Invitation,
    Membership,
    Note,
    Problem,
    Project,
    SignIn,
    Solution,
    Task,
)
from db.schema import utc_now
from db.tasks import claim_tasks
from stepmark.errors import UserError

PASSWORD = "three brown horses"
OTHER = "a boat on the lake"


def add_task(engine: sa.Engine) -> int:
    with writing(engine) as session:
        session.add(Problem(statement_hash="0" * 32, family="0" * 32, statement="1 + 1?"))
        session.flush()
        session.add(
            Solution(
                problem_id=1, source="made", source_key="a", text="", text_hash="a" * 32, steps=["2"], answer="2"
            )
        )
        session.flush()
        session.add(Task(kind="steps", solution_id=1, mode="first_error"))
        session.flush()
        return session.scalars(sa.select(Task.task_id)).one()


def test_right_wrong_and_unknown_are_told_apart_only_by_who_knows_the_password(database: sa.Engine) -> None:
    assert not accounts.has_accounts(database)
    annotator_id = accounts.create_account(database, " annotator-1 ", role="admin", password=PASSWORD)
    assert accounts.has_accounts(database)
    assert accounts.check_sign_in(database, "annotator-1", PASSWORD) == accounts.Checked(annotator_id)
    for name, password in (("annotator-1", OTHER), ("annotator-2", PASSWORD), ("", ""), ("annotator-1", "x" * 5000)):
        assert accounts.check_sign_in(database, name, password) == accounts.Checked(None)
    with reading(database) as session:
        stored = session.scalars(sa.select(Account.password_hash)).one()
    assert stored is not None
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=1$")


def test_wrong_tries_make_an_account_wait_even_for_the_right_password(database: sa.Engine) -> None:
    annotator_id = accounts.create_account(database, "annotator-1", password=PASSWORD)
    with writing(database) as session:
        session.execute(sa.update(Account).values(n_failures=4))
    assert accounts.check_sign_in(database, "annotator-1", OTHER) == accounts.Checked(None)
    waiting = accounts.check_sign_in(database, "annotator-1", PASSWORD)
    assert waiting.annotator_id is None
    assert 25 <= waiting.wait_s <= 31
    with writing(database) as session:
        session.execute(sa.update(Account).values(locked_until=utc_now(-1)))
    assert accounts.check_sign_in(database, "annotator-1", PASSWORD) == accounts.Checked(annotator_id)
    with reading(database) as session:
        assert session.execute(sa.select(Account.n_failures, Account.locked_until)).one() == (0, None)


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("annotator-1", "eleven char", "has 11 characters; at least 12"),
        ("annotator-1", "Annotator-1 knows", "holds the account's name"),
        ("annotator-1", "ababababababab", "repeats the same few"),
        ("annotator-1", "long enough" * 100, "at most 1024"),
        ("  ", PASSWORD, "the name is empty"),
        ("annotator\x07-1", PASSWORD, "cannot be seen"),
        ("taken", PASSWORD, "there is an account 'taken' already"),
        ("gpt", PASSWORD, "'gpt' is a model"),
    ],
)
def test_names_and_passwords_that_will_not_do_are_refused(
    database: sa.Engine, name: str, password: str, why: str
) -> None:
    accounts.create_account(database, "taken", password=None)
    with writing(database) as session:
        session.add(Annotator(name="gpt", kind="model"))
    with pytest.raises(UserError, match=why):
        accounts.create_account(database, name, password=password)
    with pytest.raises(UserError, match="no role 'boss'; use one of annotator, reviewer, admin"):
        accounts.create_account(database, "annotator-1", role="boss", password=None)


def test_a_sign_in_lasts_while_it_is_used_and_no_longer_than_a_week(database: sa.Engine) -> None:
    annotator_id = accounts.create_account(database, "annotator-1", role="reviewer", password=None)
    secret = sign_ins.begin(database, annotator_id)
    token_hash = sign_ins.hash_token(secret)
    found = sign_ins.SignedIn(token_hash, annotator_id, "annotator-1", "reviewer")
    assert sign_ins.find(database, secret) == found
    assert [sign_ins.find(database, forged) for forged in (None, "", secret[:-1], token_hash)] == [None] * 4

    def set_times(*, age_s: int, left_s: int) -> None:
        with writing(database) as session:
            session.execute(sa.update(SignIn).values(created_at=utc_now(-age_s), expires_at=utc_now(left_s)))

    def left_s() -> float:
        with reading(database) as session:
            expires_at, now = session.execute(sa.select(SignIn.expires_at, utc_now())).one()
            return float((expires_at - now).total_seconds())

    set_times(age_s=3600, left_s=60)
    assert sign_ins.find(database, secret) == found
    assert left_s() == pytest.approx(sign_ins.IDLE_S, abs=5)
    set_times(age_s=sign_ins.LONGEST_S - 1000, left_s=60)
    assert sign_ins.find(database, secret) == found
    assert left_s() == pytest.approx(1000, abs=5)
    set_times(age_s=3600, left_s=-1)
    assert sign_ins.find(database, secret) is None
    assert sign_ins.alive(database, [token_hash]) == set()


def test_signing_out_ends_one_browser_and_a_new_password_all_the_others(database: sa.Engine) -> None:
    annotator_id = accounts.create_account(database, "annotator-1", password=PASSWORD)
    first, second, third = (sign_ins.begin(database, annotator_id) for _ in range(3))
    sign_ins.end(database, sign_ins.hash_token(first))
    assert [sign_ins.find(database, secret) is not None for secret in (first, second, third)] == [False, True, True]
    accounts.set_password(database, annotator_id, OTHER, but=sign_ins.hash_token(third))
    assert [sign_ins.find(database, secret) is not None for secret in (first, second, third)] == [False, False, True]
    assert accounts.check_sign_in(database, "annotator-1", OTHER).annotator_id == annotator_id
    assert sign_ins.sign_out_everywhere(database, annotator_id) == 1
    assert sign_ins.find(database, third) is None


def test_a_role_holds_at_once_and_the_last_admin_stays(database: sa.Engine) -> None:
    first = accounts.create_account(database, "annotator-1", role="admin")
    secret = sign_ins.begin(database, first)
    for forbidden in (
        lambda: accounts.change_role(database, first, "reviewer"),
        lambda: accounts.close_account(database, first),
        lambda: accounts.erase_person(database, first),
    ):
        with pytest.raises(UserError, match="'annotator-1' is the last admin; make another one first"):
            forbidden()
    second = accounts.create_account(database, "annotator-2")
    accounts.change_role(database, second, "admin", by=first)
    accounts.change_role(database, first, "annotator", by=second)
    found = sign_ins.find(database, secret)
    assert found is not None
    assert found.role == "annotator"
    with reading(database) as session:
        changes = session.scalars(sa.select(Event.data).where(Event.kind == "role_changed").order_by(Event.event_id))
        assert list(changes) == [
            {"from": "annotator", "to": "admin", "by": first},
            {"from": "admin", "to": "annotator", "by": second},
        ]


def test_a_closed_account_cannot_sign_in_and_its_tasks_are_free(database: sa.Engine) -> None:
    task_id = add_task(database)
    first = accounts.create_account(database, "annotator-1", password=PASSWORD)
    second = accounts.create_account(database, "annotator-2")
    secret = sign_ins.begin(database, first)
    assert [task.task_id for task in claim_tasks(database, first)] == [task_id]
    assert claim_tasks(database, second) == []
    assert accounts.close_account(database, first) == 1
    assert sign_ins.find(database, secret) is None
    assert accounts.check_sign_in(database, "annotator-1", PASSWORD).annotator_id is None
    assert [task.task_id for task in claim_tasks(database, second)] == [task_id]
    accounts.reopen_account(database, first)
    assert sign_ins.find(database, secret) is None
    assert accounts.check_sign_in(database, "annotator-1", PASSWORD).annotator_id == first


@pytest.mark.parametrize("erases_comments", [False, True])
def test_erasing_takes_the_person_away_and_leaves_the_labels(database: sa.Engine, erases_comments: bool) -> None:
    task_id = add_task(database)
    lead = accounts.create_account(database, "lead", role="admin")
    person = accounts.create_account(database, "annotator-1", password=PASSWORD, identity="https://issuer|7")
    sign_ins.begin(database, person)
    invitations.invite_reset(database, person)
    with writing(database) as session:
        session.add(Project(name="first", kind="steps", settings={}))
        session.flush()
        session.add(Membership(project_id=1, annotator_id=person))
        session.add(Draft(task_id=task_id, annotator_id=person, body={}))
        session.add(Note(kind="message", annotator_id=person, author_id=lead, text="Well done"))
        session.add(Note(kind="message", annotator_id=lead, author_id=person, text="Thank you"))
        session.add(
            Annotation(
                solution_id=1,
                task_id=task_id,
                annotator_id=person,
                kind="steps",
                suggestion_shown=False,
                mode="first_error",
                finish_reason="solution",
                comment="I think so",
                submission_id="submission-1",
            )
        )
    erased = accounts.erase_person(database, person, erases_comments=erases_comments, by=lead)
    assert erased == accounts.Erased(
        name=f"erased-{person}",
        n_sign_ins=1,
        n_drafts=1,
        n_notes=1,
        n_comments=int(erases_comments),
        n_annotations_kept=1,
        n_comments_kept=int(not erases_comments),
        n_notes_kept=1,
    )
    with reading(database) as session:
        annotator, account = session.get_one(Annotator, person), session.get_one(Account, person)
        assert (annotator.name, annotator.is_active, annotator.erased_at is not None) == (erased.name, False, True)
        assert (account.password_hash, account.identity, account.settings) == (None, None, {})
        for table in (Membership, Draft, Invitation):
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == 0
        comment = session.scalars(sa.select(Annotation.comment)).one()
        assert comment == (None if erases_comments else "I think so")
        kept = sa.select(Event.annotator_id).where(Event.kind == "person_erased")
        assert session.scalars(kept).all() == [person]
    assert accounts.find_by_identity(database, "https://issuer|7") is None
    with pytest.raises(UserError, match="was erased and cannot come back"):
        accounts.reopen_account(database, person)
    assert accounts.has_accounts(database)


def test_an_invitation_makes_one_account_in_its_project(database: sa.Engine) -> None:
    with writing(database) as session:
        session.add(Project(name="tested", kind="steps", settings={"n_entry_tasks": 3}))
        session.add(Annotator(name="annotator-0", kind="person"))
    secret = invitations.invite(database, role="reviewer", project="tested")
    with reading(database) as session:
        assert session.scalars(sa.select(Invitation.token_hash)).all() == [sign_ins.hash_token(secret)]
    assert invitations.look_at(database, secret) == invitations.Offer("invite", "reviewer", None)
    # A link does not hand over somebody's labels, and what is refused leaves it good.
    for name, password, why in (
        ("annotator-0", PASSWORD, "the name 'annotator-0' is taken"),
        ("annotator-1", "short", "at least 12"),
    ):
        with pytest.raises(UserError, match=why):
            invitations.take_up(database, secret, name=name, password=password)
    made: list[int] = []
    refused: list[str] = []

    def take(name: str) -> None:
        try:
            made.append(invitations.take_up(database, secret, name=name, password=PASSWORD))
        except UserError as err:
            refused.append(str(err))

    threads = [threading.Thread(target=take, args=(f"annotator-{n}",)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(refused) == 1
    assert "used already" in refused[0]
    with reading(database) as session:
        assert session.execute(sa.select(Membership.annotator_id, Membership.state)).all() == [(made[0], "testing")]
        assert session.get_one(Annotator, made[0]).role == "reviewer"
    with pytest.raises(UserError, match="there is no project 'untested'"):
        invitations.invite(database, project="untested")


def test_a_reset_link_is_good_once_and_only_the_newest(database: sa.Engine) -> None:
    annotator_id = accounts.create_account(database, "annotator-1", password=PASSWORD)
    signed_in = sign_ins.begin(database, annotator_id)
    older, newer = (invitations.invite_reset(database, annotator_id) for _ in range(2))
    late = invitations.invite(database, valid_s=-1)
    assert [invitations.look_at(database, secret) for secret in (older, late, "forged")] == [None] * 3
    assert invitations.look_at(database, newer) == invitations.Offer("reset", "annotator", "annotator-1")
    assert invitations.take_up(database, newer, password=OTHER) == annotator_id
    assert sign_ins.find(database, signed_in) is None
    assert accounts.check_sign_in(database, "annotator-1", OTHER).annotator_id == annotator_id
    for dead in (older, newer, late):
        with pytest.raises(UserError, match="used already, or has expired"):
            invitations.take_up(database, dead, name="annotator-9", password=PASSWORD)
    accounts.close_account(database, annotator_id)
    with pytest.raises(UserError, match="'annotator-1' is closed"):
        invitations.invite_reset(database, annotator_id)
