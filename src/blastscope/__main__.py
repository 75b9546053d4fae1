"""``python -m blastscope``."""

from blastscope.cli import main

main()
