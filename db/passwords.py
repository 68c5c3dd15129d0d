"""Passwords: what is asked of one, its hash (Argon2id), and how long the next try waits after wrong ones.

One check takes about a quarter of a second of one core (measured: 0.22 to 0.37 s on two busy cores) and 64 MiB: three
passes on one lane, after RFC 9106, section 4. No more than two run at once in a process, so that a flood of sign-ins
does not take the memory.
"""

import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from stepmark.errors import UserError

MIN_CHARS = 12
MAX_CHARS = 1024
N_FREE_TRIES = 5
_FIRST_WAIT_S = 30
_LONGEST_WAIT_S = 900

_hasher = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)
_at_once = threading.BoundedSemaphore(2)


def check_password(password: str, *, name: str) -> None:
    """Refuses a password that is easily guessed.

    Raises:
        UserError: It is too short or too long, or holds the account's name.

    >>> check_password("annotator-1-annotator-1", name="annotator-1")
    Traceback (most recent call last):
    stepmark.errors.UserError: the password holds the account's name; choose one without it
    """
    password, name = _normal(password), _normal(name).strip()
    if len(password) < MIN_CHARS:
        raise UserError(f"the password has {len(password)} characters; at least {MIN_CHARS} are needed")
    if len(password) > MAX_CHARS:
        raise UserError(f"the password has {len(password)} characters; at most {MAX_CHARS} are read")
    if len(set(password)) < 4:
        raise UserError("the password repeats the same few characters; choose another")
    # A name of two letters is in many a good password.
    if len(name) >= 4 and name.casefold() in password.casefold():
        raise UserError("the password holds the account's name; choose one without it")


def hash_password(password: str) -> str:
    """The Argon2id hash, with its parameters and salt."""
    with _at_once:
        return _hasher.hash(_normal(password))


def is_password(password: str, password_hash: str | None) -> bool:
    """Tells whether a password is the one that was hashed; without a hash it takes as long, and is not."""
    if len(password) > MAX_CHARS:
        password, password_hash = "", None
    with _at_once:
        try:
            _hasher.verify(password_hash or _nobodys_hash(), _normal(password))
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def wait_after(n_failures: int, *, n_free: int = N_FREE_TRIES) -> int:
    """Seconds until the next try after so many wrong ones: none at first, then doubling, to a quarter of an hour.

    >>> [wait_after(n) for n in (4, 5, 6, 9, 10, 1000)]
    [0, 30, 60, 480, 900, 900]
    """
    if n_failures < n_free:
        return 0
    return int(min(_FIRST_WAIT_S * 2 ** min(n_failures - n_free, 10), _LONGEST_WAIT_S))


def _normal(text: str) -> str:
    # Keyboards differ in how they write the same letter.
    return unicodedata.normalize("NFKC", text)


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("the password of nobody at all")
