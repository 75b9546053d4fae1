"""Write TypeScript's view of the workbench's REST API, for `tsc --checkJs`: ``make types``.

``build/types/api.d.ts`` declares the namespace ``Api``, which the JSDoc of the pages' modules
names: the bodies of requests and of answers, the addresses of each method, and what an address
takes and answers.
``tsconfig.json`` beside it says what is checked.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from blastscope.workbench.app import create_app
from blastscope.workbench.routes.pages import WEB
from blastscope.workbench.settings import Settings

OUT = Path("build/types")
_PLAIN = {"string": "string", "boolean": "boolean", "null": "null", "integer": "number",
          "number": "number"}  # fmt: skip
_OPTIONS = {
    "allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "target": "es2022",
    "module": "es2022", "moduleResolution": "bundler", "lib": ["es2023", "dom", "dom.iterable"],
    "types": [], "noImplicitReturns": True, "noFallthroughCasesInSwitch": True,
    "noUnusedLocals": True, "noUnusedParameters": True,
}  # fmt: skip


def type_of(schema: dict[str, Any]) -> str:
    """Return a JSON schema as a type of TypeScript."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "const" in schema or "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema.get("enum", [schema.get("const")]))
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return " | ".join(dict.fromkeys(map(type_of, schema[name])))
    kind = schema.get("type")
    if kind == "array":
        return f"({type_of(schema.get('items', {}))})[]"
    if kind == "object":
        return object_type(schema)
    return _PLAIN.get(str(kind), "any")


def object_type(schema: dict[str, Any]) -> str:
    """Return the type of an object; what has a default may be left out."""
    known, needed = schema.get("properties", {}), set(schema.get("required", ()))
    fields = [f"{name}{'' if name in needed else '?'}: {type_of(one)}" for name, one in
              known.items()]  # fmt: skip
    more = schema.get("additionalProperties", not known)
    if more:
        fields.append(f"[name: string]: {type_of(more) if isinstance(more, dict) else 'any'}")
    return "{" + "; ".join(fields) + "}"


def address_of(path: str, operation: dict[str, Any]) -> str:
    """Return the type of a path's addresses, with a question or without."""
    kinds = {one["name"]: one["schema"] for one in operation.get("parameters", ())}

    def value(match: re.Match[str]) -> str:
        kind = kinds.get(match[1], {}).get("type")
        return "${number | null}" if kind == "integer" else "${Name}"

    whole = re.sub(r"\{(\w+)\}", value, path)
    return f"`{whole}` | `{whole}?${{string}}`"


def answer_of(operation: dict[str, Any]) -> str:
    """Return the type of the JSON that an operation answers; null if it answers with none."""
    found = [
        type_of(one["content"]["application/json"]["schema"])
        for status, one in operation["responses"].items()
        if status.startswith("2") and "application/json" in one.get("content", {})
    ]
    return " | ".join(dict.fromkeys(found)) or "null"


def choice(name: str, union: str, field: str) -> str:
    """Return a type that chooses by method and path, out of a union of what each operation has."""
    return (
        f"type {name}<Method extends string, Path> = {union} extends infer One ? One extends "
        f"{{method: Method; path: infer Known; {field}: infer Content}} ? Path extends Known ? "
        "Content : never : never : never;"
    )


def declaration(openapi: dict[str, Any]) -> str:
    """Return the content of ``api.d.ts``."""
    schemas = openapi["components"]["schemas"]
    lines = ["declare namespace Api {", "type Name = string;"]
    lines += [f"type {name} = {type_of(one)};" for name, one in sorted(schemas.items())]
    addresses: dict[str, list[str]] = {}
    bodies: list[str] = []
    replies: list[str] = []
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            address = address_of(path, operation)
            addresses.setdefault(method.upper(), []).append(address)
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is not None:
                bodies.append(f'{{method: "{method.upper()}"; path: {address}; '
                              f"body: {type_of(content['schema'])}}}")  # fmt: skip
            replies.append(f'{{method: "{method.upper()}"; path: {address}; '
                           f"answer: {answer_of(operation)}}}")  # fmt: skip
    for method, known in addresses.items():
        lines.append(f"type {method.capitalize()}Path = {' | '.join(known)};")
    every = (f"{method}: {method.capitalize()}Path" for method in addresses)
    lines.append(f"type Paths = {{{'; '.join(every)}}};")
    lines.append(f"type Request = {' | '.join(bodies)};")
    lines.append(f"type Reply = {' | '.join(replies)};")
    lines += [choice("Body", "Request", "body"), choice("Answer", "Reply", "answer")]
    return "\n".join([*lines, "}", ""])


def main() -> None:
    """Write both files."""
    settings = Settings(folder=Path("nowhere"), database="sqlite://", models=())
    app = create_app(SimpleNamespace(settings=settings))  # type: ignore[arg-type]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "api.d.ts").write_text(declaration(app.openapi()), encoding="utf-8")
    checked = {"compilerOptions": _OPTIONS, "include": [str(WEB / "static" / "*.js"), "api.d.ts"]}
    (OUT / "tsconfig.json").write_text(json.dumps(checked, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
