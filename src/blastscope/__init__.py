"""blastscope: tells B-cell lymphoblasts from normal white blood cells. Research software."""

__version__ = "0.1.0"

DISCLAIMER = (
    "Research software, not a medical device: nothing it prints is a diagnosis "
    "or may replace the judgement of a qualified person."
)
