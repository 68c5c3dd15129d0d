"""Who labels: finding an annotator by name, and making one."""

import sqlalchemy as sa

from stepmark.errors import UserError

from .connect import reading, writing
from .models import Annotator


def find_or_create_annotator(engine: sa.Engine, name: str) -> int:
    """Returns the id of the person called `name`, who is made where there is none.

    Raises:
        UserError: The name is empty, belongs to a model or a program, or to an account that was closed.
    """
    name = name.strip()
    if not name:
        raise UserError("the annotator's name is empty; give one, such as annotator-1")
    with reading(engine) as session:
        found = session.scalar(sa.select(Annotator).where(Annotator.name == name))
    if found is None:
        with writing(engine) as session:
            annotator = Annotator(name=name, kind="person")
            session.add(annotator)
            session.flush()
            return annotator.annotator_id
    if found.kind != "person":
        raise UserError(f"{name!r} is a {found.kind}, not a person; choose another name")
    if not found.is_active:
        raise UserError(f"the account {name!r} is closed; choose another name")
    return found.annotator_id
