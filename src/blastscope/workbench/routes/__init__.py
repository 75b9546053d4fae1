"""The REST API of the workbench, a file for each kind of thing, and the shells of its pages."""
