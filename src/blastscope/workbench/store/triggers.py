"""Triggers that refuse UPDATE and DELETE on append-only tables, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def statements(dialect: str, tables: Sequence[str]) -> Iterator[str]:
    """Yield the statements that make the triggers of tables in a database."""
    if dialect == "sqlite":
        for table in tables:
            for action in ("UPDATE", "DELETE"):
                yield (
                    f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    yield (
        "CREATE FUNCTION refuse_change() RETURNS trigger AS $$ BEGIN "
        "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"
    )
    for table in tables:
        yield (
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        yield (
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
