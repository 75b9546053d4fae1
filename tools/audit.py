"""Ask pip-audit whether installed packages have known vulnerabilities: ``make audit``.

Exit status 1 if one has; 0 if none has, or if the database cannot be reached, which is said.
"""

from __future__ import annotations

import json
import subprocess
import sys


def main() -> int:
    """Run pip-audit and print what it found; return the exit status."""
    call = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [*call, "--skip-editable"], capture_output=True, text=True, timeout=600
        )
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        print(
            "Nothing was audited: pip-audit is not installed (pip install pip-audit), or its "
            "database cannot be reached."
        )
        return 0
    # Behind some mirrors every package is "not found": that is no clean bill.
    audited = [one for one in packages if "vulns" in one]
    skipped = len(packages) - len(audited)
    if not audited:
        print(f"Nothing was audited: the database of pip-audit knew none of {skipped} packages.")
        return 0
    bad = [one for one in audited if one["vulns"]]
    for one in bad:
        for found in one["vulns"]:
            fixed = ", ".join(found.get("fix_versions") or ()) or "no version"
            print(f"{one['name']} {one['version']}: {found['id']}, fixed in {fixed}")
    print(f"{len(bad)} of {len(audited)} audited packages are vulnerable; {skipped} not audited.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
