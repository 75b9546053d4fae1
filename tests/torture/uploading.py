"""Send a folder to a workbench and work its jobs off, in this process: ``uploading DIR BENCH``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from starlette.testclient import TestClient

from blastscope.box import in_the_box
from blastscope.process import tune_process
from blastscope.workbench import context
from blastscope.workbench.app import create_app
from blastscope.workbench.people import start_session
from blastscope.workbench.settings import Settings
from blastscope.workbench.store.database import sqlite_url
from blastscope.workbench.store.tables import User
from blastscope.workbench.worker import Worker

HOST = "http://127.0.0.1:8400"


def main(sent: Path, folder: Path) -> None:
    """Upload every file, prepare and score what was taken, and print what is known of each."""
    tune_process()
    settings = Settings(folder=folder, database=sqlite_url(folder), models=(in_the_box(),))
    bench = context.Workbench(settings)
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
    client = TestClient(create_app(bench), base_url=HOST, headers=headers)
    with bench.database.write() as session:
        user = User(name="torture", role="reader")
        session.add(user)
        session.flush()
        client.cookies.set("blastscope_session", start_session(session, user.id))
    body = {"identifier": "T-1", "material": "marrow", "sampling": "all"}
    case = client.post("/api/v1/cases", json=body).json()["id"]
    faults: list[str] = []
    for path in sorted(sent.rglob("*.*")):
        address = f"/api/v1/cases/{case}/files"
        answer = client.put(address, params={"name": path.name}, content=path.read_bytes())
        if answer.status_code not in (200, 201, 413, 422):
            faults.append(f"{path.name}: status {answer.status_code}: {answer.text[:200]}")
    assert client.post(f"/api/v1/cases/{case}/files/done", json={}).status_code == 200
    worker = Worker(bench.database, bench.images, settings.folder)
    while worker.once():
        pass
    told = client.get(f"/api/v1/cases/{case}").json()
    if told["state"] != "review":
        faults.append(f"the case is {told['state']}: {told.get('problem')}")
    known, refused, after = [], 0, ""
    for state in ("taken", "refused", "duplicate"):
        files = client.get(f"/api/v1/cases/{case}/files?state={state}&limit=5000").json()["files"]
        known += [one["name"] for one in files]
        refused += sum(one["reason"] is not None and state == "refused" for one in files)
    del after
    bench.close()
    print(json.dumps({"known": known, "refused": refused, "faults": faults}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
