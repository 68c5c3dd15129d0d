"""`stepmark annotators`: accounts of the people who label."""

import sys
from typing import Annotated

import typer

from stepmark.errors import UserError

from .options import Db, Json, open_db
from .output import fields_of, print_json

app = typer.Typer(help="Accounts: who labels, in which role, and how they sign in.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The person's name.")]
Role = Annotated[
    str, typer.Option(help="annotator, reviewer (also: dashboards, adjudication) or admin (also: people).")
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Where people reach the app [default: $STEPMARK_PUBLIC_URL, else this machine]."
    ),
]


@app.command("list")
def list_people(db: Db = None, json: Json = False) -> None:
    """Lists people: role, account, browsers signed in."""
    from db.accounts import list_people

    people = list_people(open_db(db))
    if json:
        print_json([fields_of(person) for person in people])
    elif not people:
        print("nobody yet; make the first account with `stepmark annotators add NAME --role admin`")
    else:
        print(f"{'name':<32} {'role':<10} {'account':<8} {'signed in':>9}")
        for person in people:
            state = "erased" if person.erased_at else "open" if person.is_active else "closed"
            print(
                f"{person.name:<32} {person.role:<10} {state if person.has_account else '-':<8} "
                f"{person.n_sign_ins:>9}"
            )


@app.command()
def add(name: Name, db: Db = None, role: Role = "annotator", json: Json = False) -> None:
    """Makes an account; the password is asked for, or is the first line of standard input.

    From the first account on, the app asks everybody to sign in.
    """
    from db.accounts import create_account

    engine = open_db(db, create=True)
    annotator_id = create_account(engine, name, role=role, password=_read_password())
    if json:
        print_json({"annotator_id": annotator_id, "name": name.strip(), "role": role})
    else:
        print(f"{name.strip()} has an account as {role}")


@app.command()
def invite(
    db: Db = None,
    role: Role = "annotator",
    project: Annotated[str | None, typer.Option(metavar="NAME", help="Project that the account joins.")] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Prints a link with which one person makes an account, once, within a week."""
    from db.invitations import invite

    secret = invite(open_db(db), role=role, project=project)
    _print_link(url, secret, json=json)


@app.command()
def reset(name: Name, db: Db = None, url: Url = None, json: Json = False) -> None:
    """Prints a link with which a person sets a new password, once, within a day."""
    from db.accounts import find_person
    from db.invitations import invite_reset

    engine = open_db(db)
    secret = invite_reset(engine, find_person(engine, name).annotator_id)
    _print_link(url, secret, json=json)


@app.command()
def role(
    name: Name,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="annotator, reviewer or admin.")],
    db: Db = None,
    json: Json = False,
) -> None:
    """Gives a person another role, from the next request on."""
    from db.accounts import change_role, find_person

    engine = open_db(db)
    person = find_person(engine, name)
    change_role(engine, person.annotator_id, role)
    if json:
        print_json({"name": person.name, "before": person.role, "role": role})
    else:
        print(f"{person.name} is {role} (was {person.role})")


@app.command("sign-out")
def sign_out(name: Name, db: Db = None, json: Json = False) -> None:
    """Signs a person out in all browsers, within seconds."""
    from db.accounts import find_person
    from db.sign_ins import sign_out_everywhere

    engine = open_db(db)
    n = sign_out_everywhere(engine, find_person(engine, name).annotator_id)
    if json:
        print_json({"name": name.strip(), "n_signed_out": n})
    else:
        print(f"{name.strip()}: browsers signed out: {n}")


@app.command()
def close(
    name: Name,
    db: Db = None,
    reopen: Annotated[bool, typer.Option("--reopen", help="Open a closed account again instead.")] = False,
    json: Json = False,
) -> None:
    """Closes an account: its sign-ins end, its tasks go to others, its labels stay."""
    from db.accounts import close_account, find_person, reopen_account

    engine = open_db(db)
    annotator_id = find_person(engine, name).annotator_id
    n = 0
    if reopen:
        reopen_account(engine, annotator_id)
    else:
        n = close_account(engine, annotator_id)
    if json:
        print_json({"name": name.strip(), "is_active": reopen, "n_signed_out": n})
    else:
        print(f"{name.strip()} is open" if reopen else f"{name.strip()} is closed; browsers signed out: {n}")


@app.command()
def erase(
    name: Name,
    db: Db = None,
    comments: Annotated[bool, typer.Option("--comments", help="Also the comments beside the labels.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Takes away who a person is; the labels stay, under a name that says nothing. It cannot be undone."""
    from db.accounts import erase_person, find_person

    engine = open_db(db)
    person = find_person(engine, name)
    if not yes:
        typer.confirm(f"Erase who {person.name!r} is? It cannot be undone.", abort=True, err=True)
    erased = erase_person(engine, person.annotator_id, erases_comments=comments)
    if json:
        print_json(fields_of(erased))
        return
    print(
        f"{person.name} is {erased.name} from now on; erased: {erased.n_sign_ins} sign-ins, {erased.n_drafts} "
        f"drafts, {erased.n_notes} notes to the person, {erased.n_comments} comments"
    )
    print(
        f"kept: {erased.n_annotations_kept} annotations, {erased.n_comments_kept} comments beside them and "
        f"{erased.n_notes_kept} notes to others: read whether they name somebody"
    )


def _read_password() -> str:
    """The password, typed twice at a terminal, else the first line of standard input; never a flag.

    Raises:
        UserError: The two differ, or nothing came.
    """
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise UserError("no password came on standard input; give it as the first line")
        return password
    password = str(typer.prompt("Password", hide_input=True, err=True))
    if password != typer.prompt("The same again", hide_input=True, err=True):
        raise UserError("the two passwords differ; start again")
    return password


def _print_link(url: str | None, secret: str, *, json: bool) -> None:
    from stepmark.settings import Settings

    base = (url or Settings().public_url or "http://127.0.0.1:8501").rstrip("/")
    link = f"{base}/stepmark/invitation/{secret}"
    if json:
        print_json({"link": link})
    else:
        print(link)
