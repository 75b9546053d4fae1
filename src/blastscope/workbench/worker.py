"""The worker: one process beside the web server that prepares and scores cells.

``serve`` starts it and holds its standard input open; when that closes, because the server has
ended in whatever way, the worker ends too. PyTorch is never loaded here: heatmaps, which need it,
run in a process of their own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from blastscope.errors import BlastscopeError
from blastscope.process import tune_process
from blastscope.workbench.backup import back_up
from blastscope.workbench.demo import draw_demo
from blastscope.workbench.fields import segment_case
from blastscope.workbench.heatmaps import compute
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.jobs import JobCancelledError, any_free, finish, progress, take_job
from blastscope.workbench.preparation import prepare
from blastscope.workbench.reference import compute as compute_reference
from blastscope.workbench.scoring import score
from blastscope.workbench.similar import embed
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import QueuedJob

REST_SECONDS = 0.3
"""How long the worker sleeps if there is nothing to do."""


class Worker:
    """Does one job after the other."""

    def __init__(self, database: Database, images: ImageStore, folder: Path) -> None:
        self.database, self.images, self.folder = database, images, folder

    def once(self) -> bool:
        """Do one job, if there is one; return whether there was."""
        with self.database.read() as session:
            if not any_free(session):
                return False
        with self.database.write() as session:
            job = take_job(session)
            if job is None:
                return False
            session.flush()
            session.expunge(job)
        reason = None
        try:
            self._do(job)
        except JobCancelledError:
            pass  # its row says so already
        except BlastscopeError as error:
            reason = str(error)
        except Exception as error:  # a defect must not end the worker, nor pass unseen
            traceback.print_exc()
            reason = f"a defect of blastscope: {type(error).__name__}: {error}"
        with self.database.write() as session:
            finish(session, job.id, reason)
        return True

    def _do(self, job: QueuedJob) -> None:
        def advance(done: int, total: int | None) -> bool:
            with self.database.write() as session:
                return progress(session, job.id, done, total)

        case_id = job.case_id or 0
        match job.kind:
            case "demo":
                draw_demo(self.database, self.images, case_id, advance)
            case "segment":
                segment_case(self.database, self.images, self.folder, case_id, advance)
            case "prepare":
                prepare(self.database, self.images, case_id, advance)
            case "score":
                score(self.database, self.images, job.about["scoring"], advance)
            case "similar":
                embed(self.database, self.images, case_id, advance)
            case "heatmap":
                compute(self.database, self.images, job.about, lambda: advance(0, None))
            case "reference":
                compute_reference(self.database, self.folder, job.id, job.about, advance)
            case "backup":
                back_up(self.database, self.images, self.folder, advance)
            case _:
                raise BlastscopeError(f"there is no work of the kind {job.kind}")


def main() -> None:
    """Work until standard input closes.

    The argument is the workbench's folder. The first line of standard input is the database's URL,
    which may hold a password.
    """
    tune_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the server as well
    folder = Path(sys.argv[1])
    database = Database(sys.stdin.readline().strip())
    threading.Thread(target=_end_with_server, daemon=True).start()
    images = ImageStore(folder / "images", folder / "incoming")
    worker = Worker(database, images, folder)
    rest = threading.Event()
    while True:
        if not worker.once():
            rest.wait(REST_SECONDS)


def _end_with_server() -> None:
    while sys.stdin.read(1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
