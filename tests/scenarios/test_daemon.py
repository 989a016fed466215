"""A daemon that is told to stop, as a process."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from nurture.store.database import Database
from tests.engine.world import HEAD, add_leads, make_root, steps
from tests.migrated import SQLITE

RUN = "import nurture.daemon; nurture.daemon.DRAIN_WITHIN_S = 1; from nurture.cli.main import main; main()"


def test_who_is_told_to_stop_ends_though_a_thread_waits_for_the_database(tmp_path: Path) -> None:
    """Whoever holds the file for long keeps a thread of the daemon waiting, and the process is not kept with it."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        root = make_root(tmp_path / "workspace", tour=HEAD + steps("mail:a"))
        config = (root / "config.toml").read_text()
        assert "port = 9\n" in config
        (root / "config.toml").write_text(config.replace("port = 9\n", f"port = {port}\n"))
        database = Database(SQLITE, root=root)
        add_leads(database, "zoe")
        database.close()
        daemon = subprocess.Popen(
            [sys.executable, "-c", RUN, "run"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        holding = sqlite3.connect(root / "nurture.db", isolation_level=None)
        try:
            link, _ = mute.accept()
            holding.execute("BEGIN IMMEDIATE")
            time.sleep(2)  # a tick comes by, and stays
            daemon.send_signal(signal.SIGTERM)
            told, _ = daemon.communicate(timeout=20)
            assert holding.in_transaction
            assert daemon.returncode == 0, told
            assert "drain_cut_off" in told
            link.close()
        finally:
            daemon.kill()
            daemon.communicate()
            holding.close()
