"""Pages and figures: self-contained HTML that opens anywhere, without a network."""
