"""Write the API reference from the docstrings of the public names: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc

import blastscope

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")

# pdoc reads a module's __dict__, and ours is filled when a name is first used.
for name in blastscope.__all__:
    setattr(blastscope, name, getattr(blastscope, name))

pdoc.render.configure(docformat="google", show_source=False)
pdoc.pdoc("blastscope", "!blastscope.", output_directory=OUT)
print(f"{OUT / 'blastscope.html'}")
