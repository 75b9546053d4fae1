"""People, roles, passwords, sessions and tokens.

A session lies on the server, so that it can be ended; browsers and scripts hold a random value, and
the database its SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from blastscope.workbench.refusal import RefusalError, conflict, invalid, unknown
from blastscope.workbench.store.tables import ApiToken, AuditEntry, LoginSession, User, now

if TYPE_CHECKING:
    from limits import RateLimitItemPerMinute
    from pwdlib import PasswordHash

ROLES = ("viewer", "reader", "signer", "admin")
"""Each may do what those before it may."""
LOCAL = "local"
"""The person who opened the launch address."""
SESSION_HOURS = 12
LEAST_PASSWORD, MOST_PASSWORD = 10, 200
MOST_TRIES, TRY_MINUTES = 5, 15
"""Wrong passwords for a name until it is locked, and for how long they count."""


@dataclass(frozen=True)
class Who:
    """Who asks."""

    id: int
    name: str
    role: str
    has_password: bool

    def may(self, role: str) -> bool:
        """Say whether the person has this role or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def as_json(self) -> dict[str, Any]:
        """Return what a page shows of the person."""
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "has_password": self.has_password,
        }


def who(person: User) -> Who:
    """Return a person as the one who asks."""
    return Who(person.id, person.name, person.role, person.password is not None)


def digest(secret: str) -> str:
    """Return the SHA-256 of a session's or token's value, 64 hex digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


@cache
def _hasher() -> PasswordHash:
    from pwdlib import PasswordHash

    return PasswordHash.recommended()


@cache
def _no_ones_hash() -> str:
    """A hash to compare with if a name is unknown, so that the answer takes as long."""
    return _hasher().hash(secrets.token_hex(16))


class Passwords:
    """Check passwords, a few wrong ones a name and address."""

    def __init__(self) -> None:
        from limits import RateLimitItemPerMinute
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(MOST_TRIES, TRY_MINUTES)
        self._broad = RateLimitItemPerMinute(MOST_TRIES * 6, TRY_MINUTES)

    def check(self, session: Session, name: str, password: str, address: str | None) -> Who:
        """Return who signs in.

        Args:
            address: of the person's machine; None if it is not known.

        Raises:
            RefusalError: if the name or the password is wrong (one sentence for both), or the
                name or the address is locked.
        """
        person = session.scalar(select(User).where(User.name == name))
        self._refuse_locked(name, address)
        known = person.password if person and person.active and person.password else None
        right = _hasher().verify(password[:MOST_PASSWORD], known or _no_ones_hash())
        if person is None or known is None or not right:
            for limit, kind, key in self._counted(name, address):
                self._limiter.hit(limit, kind, key)
            self._refuse_locked(name, address)
            raise RefusalError(
                401, "wrong-password", "The name or the password is wrong: type both again."
            )
        return who(person)

    def locked_until(self, name: str) -> datetime | None:
        """Return until when a name is locked; None if it is not."""
        if self._limiter.test(self._limit, "name", name):
            return None
        until = self._limiter.get_window_stats(self._limit, "name", name).reset_time
        return datetime.fromtimestamp(until, UTC)

    def _counted(
        self, name: str, address: str | None
    ) -> Iterator[tuple[RateLimitItemPerMinute, str, str]]:
        yield self._limit, "name", name
        if address is not None:
            yield self._broad, "address", address

    def _refuse_locked(self, name: str, address: str | None) -> None:
        for limit, kind, key in self._counted(name, address):
            if not self._limiter.test(limit, kind, key):
                until = self._limiter.get_window_stats(limit, kind, key).reset_time
                seconds = max(1, round(until - now().timestamp()))
                raise RefusalError(
                    429,
                    "locked",
                    f"Too many wrong passwords: wait {-(-seconds // 60)} minutes and try again.",
                    headers={"Retry-After": str(seconds)},
                )


def hashed(password: str) -> str:
    """Hash a new password by argon2.

    Raises:
        RefusalError: if it is too short or too long.
    """
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise invalid(
            "password",
            f"A password has {LEAST_PASSWORD} to {MOST_PASSWORD} characters: choose another.",
        )
    return _hasher().hash(password)


def start_session(session: Session, person_id: int) -> str:
    """Sign a person in and return the value of the cookie."""
    secret = secrets.token_urlsafe(32)
    session.execute(delete(LoginSession).where(LoginSession.expires_at < now()))
    until = now() + timedelta(hours=SESSION_HOURS)
    session.add(LoginSession(digest=digest(secret), person_id=person_id, expires_at=until))
    return secret


def end_session(session: Session, secret: str) -> None:
    """Sign out: the cookie's value is worth nothing from here."""
    session.execute(delete(LoginSession).where(LoginSession.digest == digest(secret)))


def end_sessions(session: Session, person_id: int) -> None:
    """Sign a person out everywhere, scripts too."""
    session.execute(delete(LoginSession).where(LoginSession.person_id == person_id))
    session.execute(
        update(ApiToken)
        .where(ApiToken.person_id == person_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now())
    )


# Asked with every request, so put together once.
_BY_SESSION = (
    select(User)
    .join(LoginSession, LoginSession.person_id == User.id)
    .where(LoginSession.digest == bindparam("digest"), LoginSession.expires_at > bindparam("now"))
)
_BY_TOKEN = (
    select(User)
    .join(ApiToken, ApiToken.person_id == User.id)
    .where(
        ApiToken.digest == bindparam("digest"),
        ApiToken.expires_at > bindparam("now"),
        ApiToken.revoked_at.is_(None),
    )
)


def of_session(session: Session, secret: str) -> Who | None:
    """Return whose cookie it is, if it still holds."""
    found = session.scalar(_BY_SESSION, {"digest": digest(secret), "now": now()})
    return who(found) if found is not None and found.active else None


def of_token(session: Session, secret: str) -> Who | None:
    """Return whose token it is, if it still holds."""
    found = session.scalar(_BY_TOKEN, {"digest": digest(secret), "now": now()})
    return who(found) if found is not None and found.active else None


def local_person(session: Session) -> User:
    """Return the person of the launch address, an admin, who is made if missing."""
    found = session.scalar(select(User).where(User.name == LOCAL))
    if found is None:
        found = User(name=LOCAL, role="admin", password=None)
        session.add(found)
        session.flush()
    return found


def workbench_key(session: Session) -> str:
    """Return what tells a workbench from all others, 16 hex digits; a restored one has the same.

    Many are served at one address in turn, and browsers keep what they could not send by address.
    """
    return digest(local_person(session).created_at.isoformat())[:16]


def anybody_signs_in(session: Session) -> bool:
    """Say whether there is a person who can sign in with a password."""
    query = select(User.id).where(User.password.is_not(None), User.active.is_(True))
    return session.scalar(query.limit(1)) is not None


def add_person(session: Session, by: Who | None, name: str, password: str, role: str) -> User:
    """Add a person.

    Raises:
        RefusalError: if the name is taken or empty, or the role or the password does not do.
    """
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise invalid("name", "A name has 1 to 80 printable characters: type another.")
    if role not in ROLES:
        raise invalid("role", f"{role!r} is not a role: choose one of {', '.join(ROLES)}.")
    same = select(User).where(func.lower(User.name) == name.lower())
    if session.scalar(same) is not None:
        raise conflict("taken", f"There is a person called {name} already: choose another name.")
    person = User(name=name, role=role, password=hashed(password))
    session.add(person)
    session.flush()
    audit(session, by, "person-added", {"person": name, "role": role})
    return person


def change_person(
    session: Session,
    by: Who,
    person_id: int,
    role: str | None,
    active: bool | None,
    password: str | None,
) -> User:
    """Change a person's role, password or whether they may sign in; that ends their sessions.

    Raises:
        RefusalError: if there is no such person, a value does not do, or no admin would be left.
    """
    person = session.get(User, person_id)
    if person is None:
        raise unknown("person", person_id)
    if role is not None and role not in ROLES:
        raise invalid("role", f"{role!r} is not a role: choose one of {', '.join(ROLES)}.")
    loses = person.role == "admin" and ((role or "admin") != "admin" or active is False)
    if loses and _admins(session) < 2:
        raise conflict("last-admin", "This is the last admin: make another person admin first.")
    changed: dict[str, Any] = {}
    if role is not None and role != person.role:
        person.role = changed["role"] = role
    if active is not None and active != person.active:
        person.active = changed["active"] = active
    if password is not None:
        person.password = hashed(password)
        changed["password"] = True
    if changed:
        end_sessions(session, person.id)
        audit(session, by, "person-changed", {"person": person.name, **changed})
    return person


def _admins(session: Session) -> int:
    found = select(func.count()).where(User.role == "admin", User.active.is_(True))
    return session.scalar(found) or 0


def add_token(session: Session, by: Who, name: str, days: int) -> tuple[ApiToken, str]:
    """Make a token for scripts of a person; its value is returned once."""
    secret = f"bst_{secrets.token_urlsafe(32)}"
    token = ApiToken(
        name=name.strip()[:80] or "token",
        digest=digest(secret),
        person_id=by.id,
        expires_at=now() + timedelta(days=days),
    )
    session.add(token)
    session.flush()
    audit(session, by, "token-added", {"name": token.name, "days": days})
    return token, secret


def revoke_token(session: Session, by: Who, token_id: int) -> None:
    """End a token: one's own, or as an admin anyone's.

    Raises:
        RefusalError: if there is no such token.
    """
    token = session.get(ApiToken, token_id)
    if token is None or (token.person_id != by.id and not by.may("admin")):
        raise unknown("token", token_id)
    if token.revoked_at is None:
        token.revoked_at = now()
        audit(session, by, "token-revoked", {"name": token.name})


def audit(session: Session, by: Who | None, what: str, about: dict[str, Any]) -> None:
    """Record what was done to people, tokens, jobs or backups."""
    session.add(AuditEntry(person_id=None if by is None else by.id, what=what, about=about))
