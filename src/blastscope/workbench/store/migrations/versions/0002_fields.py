"""Whole fields: what the files of a case show, the fields, and the places of cells in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of fields; the cases that are there hold single cells."""
    op.add_column(
        "review_case",
        sa.Column("content", sa.String(length=6), nullable=False, server_default="cells"),
    )
    op.add_column("review_case", sa.Column("um_per_pixel", sa.Float(), nullable=True))
    op.add_column("cell", sa.Column("field", sa.Integer(), nullable=True))
    op.add_column("cell", sa.Column("place", sa.JSON(), nullable=True))
    op.add_column("cell", sa.Column("quality", sa.Float(), nullable=True))
    op.create_table(
        "smear_field",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("upload_id", sa.Integer(), nullable=False),
        sa.Column("file", sa.String(length=500), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("um_per_pixel", sa.Float(), nullable=False),
        sa.Column("red_cells", sa.Integer(), nullable=True),
        sa.Column("image", sa.String(length=64), nullable=False),
        sa.Column("refused", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["review_case.id"], name=op.f("fk_smear_field_case_id")
        ),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["upload.id"], name=op.f("fk_smear_field_upload_id")
        ),
        sa.PrimaryKeyConstraint("case_id", "number", name=op.f("pk_smear_field")),
    )
