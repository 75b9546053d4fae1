"""The database of the workbench: tables, connections and migrations."""
