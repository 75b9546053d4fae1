"""The workbench: a local web application in which people review what a model said of cells.

``server`` starts it, ``app`` puts it together, ``routes`` is its REST API, ``store`` its database,
``worker`` the one process beside it that prepares and scores cells.
"""
