"""Try to break blastscope at full length, and print what was tried: ``python -m tests.torture``.

Exit status 1 if anything broke. ``docs/torture.md`` says what each part does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

PARTS = ("images", "files", "kills", "disk", "busy")


def main() -> int:
    """Run the parts that are asked for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help="all by default")
    parser.add_argument("--files", type=int, default=10_000, help="damaged images")
    parser.add_argument("--a-folder", type=int, default=250, help="of them, to a process")
    parser.add_argument("--kills", type=int, default=30, help="of each command")
    parser.add_argument("--verbs", nargs="*", default=(), help="which commands are killed")
    parser.add_argument("--each", type=int, default=200, help="damaged files of each other kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="a folder for what is made")
    asked = parser.parse_args()
    faults: list[str] = []
    if asked.scratch is not None:
        asked.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="torture-", dir=asked.scratch) as folder:
        for part in asked.parts or PARTS:
            began = time.monotonic()
            scratch = Path(folder) / part
            scratch.mkdir()
            found = globals()[f"_{part}"](asked, scratch)
            faults += found
            print(f"{part}: {len(found)} faults, {time.monotonic() - began:.0f} s", flush=True)
    for fault in faults:
        print(f"! {fault}")
    return 1 if faults else 0


def _images(asked: argparse.Namespace, scratch: Path) -> list[str]:
    from tests.torture.images import torture_images

    tally = torture_images(scratch, asked.files, asked.a_folder, asked.seed, True)
    for verb, count in tally.tried.items():
        print(
            f"  {verb}: {count:,} files, {tally.named[verb]:,} named as unusable; most memory "
            f"{tally.most_memory[verb] / 2**20:.0f} MiB"
        )
    return tally.faults


def _files(asked: argparse.Namespace, scratch: Path) -> list[str]:
    from tests.torture.malformed import torture_files
    from tests.torture.material import make_material

    good = make_material(scratch / "material").good_files()
    tried, refused, faults = torture_files(good, scratch, asked.each, asked.seed)
    for kind, count in tried.items():
        print(f"  {kind}: {count} damaged, {refused[kind]} refused, the others read")
    return faults


def _kills(asked: argparse.Namespace, scratch: Path) -> list[str]:
    from tests.torture.kills import torture_kills, torture_server, verbs
    from tests.torture.material import make_material

    made, faults = make_material(scratch / "material"), []
    known = verbs(made)
    for name in asked.verbs or [*known, "server"]:
        if name == "server":
            killed, found = torture_server(made, scratch / name, asked.kills, asked.seed)
        else:
            killed, found = torture_kills(known[name], scratch / name, asked.kills, asked.seed)
        print(f"  {name}: killed {killed} times, {len(found)} other results", flush=True)
        faults += [f"{name}: {one}" for one in found]
    return faults


def _disk(asked: argparse.Namespace, scratch: Path) -> list[str]:
    from tests.torture import disk
    from tests.torture.material import make_material

    made, faults = make_material(scratch / "material"), []
    reason = disk.can_mount(scratch)
    if reason:
        print(f"  full disk: skipped, since no small file system can be mounted ({reason})")
    else:
        steps = [*range(4, 200, 12), *range(200, 2000, 100)]
        full, faults = disk.torture_disk(made, scratch / "full", steps)
        print(f"  full disk: {dict(full)}")
    limited, found = disk.torture_limits(made, scratch / "limits", (0, 100, 1000, 10_000, 100_000))
    blocked, more = disk.torture_read_only(made, scratch / "blocked")
    told, last = disk.torture_two(made, scratch / "two")
    print(f"  limited files: {limited}; read-only: {blocked}; second process told: {told}")
    return [*faults, *found, *more, *last]


def _busy(asked: argparse.Namespace, scratch: Path) -> list[str]:
    from tests.torture.busy import torture_busy
    from tests.torture.material import make_material

    told, faults = torture_busy(make_material(scratch / "material"), scratch)
    for name, alone, times in told:
        print(f"  {name}: {alone:.1f} s alone, {times:.2f} times its share beside six others")
    return faults


if __name__ == "__main__":
    sys.exit(main())
