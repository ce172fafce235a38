"""Settings for clients without a mesh before the InferenceService: keys, TLS, browsers of other origins, a log."""

from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.common.types import ObjectName

# A host may have a port; `*` is any origin.
ORIGIN = r"^([*]|null|https?://[^\s/,*]+)$"
TOKEN = r"^([*]|[-!#$%&'+.^_`|~0-9A-Za-z]+)$"  # noqa: S105  (a header's or a method's name)

Origin = Annotated[str, Field(min_length=1, max_length=256, pattern=ORIGIN)]
Token = Annotated[str, Field(min_length=1, max_length=128, pattern=TOKEN)]


class KeySecret(Model):
    """A Secret of the service's namespace."""

    name: ObjectName = Field(description="Name of the Secret. Each of its values is a key; a change needs no restart.")


class Auth(Model):
    """The keys that clients must show."""

    secret_ref: KeySecret = Field(description="The Secret with the keys: several while they are changed.")


class TlsSecret(Model):
    """A Secret of type kubernetes.io/tls in the service's namespace, such as cert-manager writes."""

    name: ObjectName = Field(
        description="Name of the Secret: tls.crt, tls.key, perhaps ca.crt. A new certificate needs no restart."
    )


class Tls(Model):
    """Certificate by which the server proves its identity."""

    secret_ref: TlsSecret = Field(description="The Secret with the certificate and its key.")


class Cors(Model):
    """Browsers' pages of other origins that may ask, by the names of the Gateway API."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.allowCredentials) || !self.allowCredentials || !('*' in self.allowOrigins)",
            "with allowCredentials any page could ask in its visitor's name: name the origins in place of *",
            lambda cors: not cors.allow_credentials or "*" not in cors.allow_origins,
        ),
    )
    allow_origins: Annotated[list[Origin], Field(min_length=1, max_length=64)] = Field(
        description="Such as https://app.example.com; * is any."
    )
    allow_methods: Annotated[list[Token], Field(max_length=9)] = Field(
        default_factory=list, description="GET and POST when empty."
    )
    allow_headers: Annotated[list[Token], Field(max_length=64)] = Field(
        default_factory=list, description="Those that the server reads when empty."
    )
    expose_headers: Annotated[list[Token], Field(max_length=64)] = Field(
        default_factory=list, description="Those that the server writes when empty."
    )
    allow_credentials: bool = Field(False, description="Cookies and the browser's own passwords go along.")
    max_age: Annotated[int, Field(ge=0, le=86400)] = Field(5, description="Seconds that a browser keeps the answer.")


class AccessLog(Model):
    """A line of JSON for each request, on the standard output."""

    sample_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        100, description="Of the requests that are answered without an error of the server; those with one all are."
    )
