"""What stands before every request: names, origins, lengths, headers.

The name check defends against DNS rebinding, on loopback too (jupyter/notebook#1830); the origin
check against requests that another site makes a browser send.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from secure import (
    ContentSecurityPolicy,
    CrossOriginOpenerPolicy,
    CrossOriginResourcePolicy,
    PermissionsPolicy,
    ReferrerPolicy,
    Secure,
    StrictTransportSecurity,
    XContentTypeOptions,
    XFrameOptions,
)
from secure.middleware import SecureASGIMiddleware
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from blastscope.workbench.refusal import RefusalError
from blastscope.workbench.settings import MOST_JSON_BYTES, MOST_ZIP_BYTES, Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
TOO_LARGE = "The request is too large: send less at once."
_FILES = "/files"
"""The end of the one address that takes long bodies."""


def middleware(settings: Settings) -> list[Middleware]:
    """Return the middleware, the outermost first."""
    return [
        Middleware(SecureASGIMiddleware, secure=headers(settings)),
        Middleware(TrustedHostMiddleware, allowed_hosts=_bracketed(settings.names)),
        Middleware(OriginCheck),
        Middleware(BodyLimits),
    ]


def _bracketed(names: tuple[str, ...]) -> list[str]:
    return [*names, *(f"[{name}]" for name in names if ":" in name)]


def headers(settings: Settings) -> Secure:
    """Return the headers of every answer: nothing from elsewhere, nothing inline, no frames."""
    policy = (
        ContentSecurityPolicy()
        .default_src("'none'")
        .script_src("'self'")
        .style_src("'self'")
        .img_src("'self'")
        .connect_src("'self'")
        .font_src("'self'")
        .form_action("'self'")
        .base_uri("'none'")
        .frame_ancestors("'none'")
        .require_trusted_types_for("'script'")
        .trusted_types("'none'")
    )
    secure = StrictTransportSecurity().max_age(31_536_000) if settings.secure else None
    return Secure(
        csp=policy,
        coop=CrossOriginOpenerPolicy().same_origin(),
        corp=CrossOriginResourcePolicy().same_origin(),
        hsts=secure,
        permissions=PermissionsPolicy().camera().microphone().geolocation(),
        referrer=ReferrerPolicy().no_referrer(),
        xcto=XContentTypeOptions().nosniff(),
        xfo=XFrameOptions().deny(),
    )


class OriginCheck:
    """Refuse requests that change something if a page of another origin makes them.

    Browsers say where a request comes from by Sec-Fetch-Site and Origin. One that says neither is
    let through only with a token, which no browser sends by itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and scope["method"] not in SAFE and not _is_ours(scope):
            await refuse(
                send,
                RefusalError(
                    403,
                    "foreign-origin",
                    "This request came from another page: open the workbench's own address.",
                ),
            )
            return
        await self._app(scope, receive, send)


def _is_ours(scope: Scope) -> bool:
    head: dict[str, str] = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
    }
    site, origin = head.get("sec-fetch-site"), head.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is not None and urlsplit(origin).netloc != head.get("host"):
        return False
    if site is None and origin is None:
        return head.get("authorization", "").startswith("Bearer ")
    return True


class BodyLimits:
    """Limit the bytes of bodies, by their announced length and as they come."""

    def __init__(self, app: ASGIApp) -> None:
        self._short = RequestBodyLimitMiddleware(app, MOST_JSON_BYTES)
        self._long = RequestBodyLimitMiddleware(app, MOST_ZIP_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its limit."""
        is_file = (
            scope["type"] == "http"
            and scope["method"] == "PUT"
            and scope["path"].startswith("/api/v1/cases/")
            and scope["path"].endswith(_FILES)
        )
        if scope["type"] == "http" and _length(scope) > (
            MOST_ZIP_BYTES if is_file else MOST_JSON_BYTES
        ):  # before a byte of it comes
            await refuse(send, RefusalError(413, "too-large", TOO_LARGE))
            return
        await (self._long if is_file else self._short)(scope, receive, send)


def _length(scope: Scope) -> int:
    """Return the announced length of a body; 0 if none is, or it is not a number."""
    told = dict(scope["headers"]).get(b"content-length", b"")
    return int(told) if told.isdigit() else 0


async def refuse(send: Send, refusal: RefusalError) -> None:
    """Send a refusal from outside the application."""
    body = json.dumps(refusal.as_json()).encode()
    kinds = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": kinds})
    await send({"type": "http.response.body", "body": body})
