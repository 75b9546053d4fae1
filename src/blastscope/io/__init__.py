"""Files: whole ones, tables, prediction tables, submissions, and folders that resume."""
