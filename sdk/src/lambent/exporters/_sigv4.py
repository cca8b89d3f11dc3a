"""AWS Signature Version 4 for the one kind of request that is made here: a POST with its body.

Rules (IAM User Guide, "Create a signed AWS API request"): the request in its canonical form, the hash
of it in a text with time and scope, signed with a key derived from the secret, the date, the region and
the service. `botocore.auth.SigV4Auth` gives the same signature; loading it costs a hundred times as much.

Credentials are looked for as in Lambda: the environment; a container's endpoint (SnapStart, ECS, EKS);
then whatever botocore finds, if it is installed.
"""

from __future__ import annotations

from time import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent.exporters._endpoint import Endpoint

__all__ = ["Credentials", "Signer", "sign"]

_NOT_SIGNED = frozenset({"connection", "content-length", "expect", "transfer-encoding", "user-agent"})
_EARLY = 300.0  # seconds before their end in which credentials are renewed
_CONTAINER_HOSTS = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost", "::1"})
_ECS = "http://169.254.170.2"


class Credentials:
    """An access key, its secret, and the token of a session; when they end, in seconds since the epoch."""

    __slots__ = ("access_key", "expires", "secret", "token")

    def __init__(self, access_key: str, secret: str, token: str = "", expires: float = 0.0) -> None:
        self.access_key = access_key
        self.secret = secret
        self.token = token
        self.expires = expires


def sign(
    credentials: Credentials,
    region: str,
    service: str,
    host: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    method: str = "POST",
) -> dict[str, str]:
    """Return the headers to add to the request: authorization, date, and the session's token.

    `host` is that of the Host header, `target` the path with its query as it is sent.
    """
    from hashlib import sha256
    from hmac import digest
    from time import gmtime, strftime

    moment = strftime("%Y%m%dT%H%M%SZ", gmtime(now))
    added = {"x-amz-date": moment}
    if credentials.token:
        added["x-amz-security-token"] = credentials.token
    signed = {name.lower(): " ".join(value.split()) for name, value in {**headers, **added}.items()}
    signed = {name: value for name, value in signed.items() if name not in _NOT_SIGNED}
    signed["host"] = host
    names = sorted(signed)
    path, _, query = target.partition("?")
    canonical = "\n".join(
        [
            method,
            _path(path),
            "&".join(["=".join(pair) for pair in sorted(_pairs(query))]),
            *[f"{name}:{signed[name]}" for name in names],
            "",
            ";".join(names),
            sha256(body).hexdigest(),
        ]
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = digest(key, part.encode(), "sha256")
    signature = digest(key, text.encode(), "sha256").hex()
    added["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return added


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(part.partition("=")[0], part.partition("=")[2]) for part in query.split("&")] if query else []


def _path(path: str) -> str:
    """Return the path without dots and double slashes, escaped once more than it is."""
    from urllib.parse import quote

    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    joined = "/".join(parts)
    slash = "/" if path.endswith("/") and parts else ""
    return quote(f"/{joined}{slash}", safe="/~")


class Signer:
    """Signs requests with the credentials that this environment has.

    `headers` raises ValueError when there are none; its message names variables, not values.
    """

    def __init__(
        self, environ: Mapping[str, str], region: str, service: str, clock: Callable[[], float] = time
    ) -> None:
        if not region:
            raise ValueError("a signature wants a region; set AWS_REGION")
        self._environ = environ
        self._region = region
        self._service = service
        self._clock = clock
        self._credentials: Credentials | None = None

    def headers(
        self, host: str, target: str, headers: dict[str, str], body: bytes, seconds: float
    ) -> dict[str, str]:
        """Return the headers that sign this request. Looking for credentials takes `seconds` at most."""
        now = self._clock()
        found = self._credentials
        if found is None or (found.expires and now > found.expires - _EARLY):
            fresh = self._find(seconds)
            # What has not ended yet is better than nothing.
            found = fresh or (found if found is not None and now < found.expires else None)
            if found is None:
                raise ValueError(
                    "no AWS credentials to sign with: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"
                )
            self._credentials = found
        return sign(found, self._region, self._service, host, target, headers, body, now)

    def _find(self, seconds: float) -> Credentials | None:
        get = self._environ.get
        access_key, secret = get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")
        if access_key and secret:
            return Credentials(access_key, secret, get("AWS_SESSION_TOKEN", ""))
        relative = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        url = f"{_ECS}{relative}" if relative else get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if url:
            return self._from_container(url, seconds)
        return _from_botocore()

    def _from_container(self, url: str, seconds: float) -> Credentials | None:
        from json import loads
        from time import monotonic

        from lambent.exporters._endpoint import check_headers, parse_url
        from lambent.exporters._http import Client, TransportError

        endpoint = parse_url(url, "container's credentials address")
        if endpoint.scheme == "http" and not _is_near(endpoint):
            raise ValueError("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine")
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        path = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        client = Client(endpoint)
        try:
            if path:
                with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib is a module to load
                    token = file.read()
            fields = check_headers({"authorization": token.strip()} if token else {})
            lines = [
                f"GET {endpoint.target} HTTP/1.1",
                f"host: {endpoint.authority}",
                "accept: application/json",
            ]
            lines += [f"{name}: {value}" for name, value in fields.items()]
            request = "\r\n".join([*lines, "", ""]).encode("latin-1")
            answer = client.exchange(request, monotonic() + seconds)
            if answer.status != 200:
                raise ValueError(f"the container's credentials endpoint answered {answer.status}")
            try:
                found = loads(answer.body)
            except ValueError:
                found = None
            expires = _seconds_of(str(found.get("Expiration") or ""))
            return Credentials(
                found["AccessKeyId"], found["SecretAccessKey"], found.get("Token") or "", expires
            )
        except (TransportError, OSError) as error:
            raise ValueError(f"the container's credentials endpoint: {error}") from None
        except (KeyError, TypeError, AttributeError):
            raise ValueError("the container's credentials endpoint gave no credentials") from None
        finally:
            client.close()


def _is_near(endpoint: Endpoint) -> bool:
    return endpoint.host in _CONTAINER_HOSTS or endpoint.host.startswith("127.")


def _seconds_of(text: str) -> float:
    """Return an ISO 8601 time as seconds since the epoch, 0 for none."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _from_botocore() -> Credentials | None:
    """Return what botocore finds: profiles, single sign-on, roles. On a developer's machine, that is."""
    try:
        from botocore.session import Session
    except ImportError:
        return None
    try:
        found = Session().get_credentials()
        frozen = found.get_frozen_credentials() if found is not None else None
    except Exception as error:  # noqa: BLE001  # its text may hold anything
        raise ValueError(f"botocore finds no AWS credentials: {type(error).__name__}") from None
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        return None
    # Asked again now and then: botocore renews its own.
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "", time() + _EARLY + 60)
