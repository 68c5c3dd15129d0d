"""The only reader of the environment: variables `STEPMARK_*`, and a `.env` file in the working folder."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Defaults that flags override."""

    model_config = SettingsConfigDict(env_prefix="STEPMARK_", env_file=".env", extra="ignore")

    db: str = "sqlite:///stepmark.db"
    """Database URL."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """Endpoint of the OpenAI-compatible server."""
    api_key: str | None = None
    """Key for that server; None sends a placeholder, which local servers accept."""
    public_url: str | None = None
    """Where people reach the labelling app behind a proxy; https makes its cookies Secure."""
    oidc_issuer: str | None = None
    """Address of an OpenID provider that people may sign in to the labelling app with."""
    oidc_client_id: str = ""
    """The app's name at that provider."""
    oidc_client_secret: str = ""
    """And its secret."""
    oidc_name: str = "OpenID"
    """What people call that provider."""
    oidc_domain: str | None = None
    """Whoever has a confirmed mail address in this domain gets an account; None: nobody without an invitation."""
