"""``blastscope`` and ``python -m blastscope``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; an interrupt while it is still being loaded is one line as well."""
    try:
        from blastscope.cli import main as run

        run()
    except KeyboardInterrupt:
        print("blastscope: interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
