"""What the API refuses: a status, a code for programs and a sentence for people."""

from __future__ import annotations

from typing import Any

from blastscope.errors import BlastscopeError


class RefusalError(BlastscopeError):
    """An answer that refuses a request."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.fields = status, code, fields
        self.headers = headers or {}

    def as_json(self) -> dict[str, Any]:
        """Return the body of the answer."""
        content: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.fields:
            content["fields"] = self.fields
        return {"error": content}


def unknown(what: str, which: object = "") -> RefusalError:
    """Return the refusal of something that does not exist."""
    named = f" {which}" if which != "" else ""
    return RefusalError(
        404, f"unknown-{what}", f"There is no {what}{named}: go back and choose one."
    )


def conflict(code: str, message: str) -> RefusalError:
    """Return the refusal of what does not fit the present state."""
    return RefusalError(409, code, message)


def invalid(field: str, message: str) -> RefusalError:
    """Return the refusal of a value in a request."""
    return RefusalError(422, "invalid", message, fields={field: message})
