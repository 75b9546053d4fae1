"""The steps of Alembic from each released schema to the next."""
