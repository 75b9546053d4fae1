"""Run by Alembic: bring the database of the workbench to a revision."""

from __future__ import annotations

from alembic import context

from blastscope.workbench.store.tables import Base

with context.config.attributes["engine"].connect() as connection:
    # Batches let SQLite, which can hardly alter a table, copy it instead.
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True,
        compare_type=True,
    )  # fmt: skip
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
