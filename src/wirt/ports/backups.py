"""What backups are made with: who freezes the disks of a guest that runs, who opens those of one that is off, and
who keeps what was read."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.ports.backup_store import BackupStores
from wirt.ports.disk_server import DiskServer
from wirt.ports.live_backup import LiveBackup


@dataclass(frozen=True, slots=True)
class Backups:
    live: LiveBackup
    disks: DiskServer
    stores: BackupStores
