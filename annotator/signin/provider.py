"""An OpenID provider as the settings name it; `openid` speaks with it."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from stepmark.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Provider:
    """Who vouches for people."""

    issuer: str
    """Its address, exactly as it names itself; the rest is found there."""
    client_id: str
    client_secret: str
    name: str = "OpenID"
    """What stands on the button."""
    domain: str | None = None
    """Whoever has a confirmed mail address there gets an account, as annotator; None: only who is invited."""

    def __post_init__(self) -> None:
        found = urlsplit(self.issuer)
        is_local = found.hostname in ("127.0.0.1", "localhost", "::1")
        if not (found.hostname and (found.scheme == "https" or (found.scheme == "http" and is_local))):
            raise SettingsError(f"STEPMARK_OIDC_ISSUER is {self.issuer!r}; use the provider's https address")
