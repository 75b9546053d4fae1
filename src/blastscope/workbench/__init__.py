"""The workbench: a local web application in which people review the calls of a model.

``server`` starts it, ``app`` puts it together, ``routes`` is its REST API, ``store`` its database,
``worker`` the one process beside it that prepares and scores cells.
"""
