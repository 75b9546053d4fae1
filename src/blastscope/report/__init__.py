"""Pages, plots, cards and the English of results: self-contained HTML that opens anywhere."""
