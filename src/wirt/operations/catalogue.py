"""All operations by the kind that the journal names them with."""

from __future__ import annotations

from collections.abc import Mapping

from wirt.operations.backup import BACKUP
from wirt.operations.backup_prune import PRUNE
from wirt.operations.backup_restore import RESTORE
from wirt.operations.backup_verify import BOOT, VERIFY
from wirt.operations.bootstrap import BOOTSTRAP
from wirt.operations.clone import CLONE
from wirt.operations.conclude import CONCLUSIONS
from wirt.operations.create import CREATE, START
from wirt.operations.destroy import DESTROY
from wirt.operations.disk_move import DISK_MOVE
from wirt.operations.disk_qos import DISK_QOS
from wirt.operations.environment import Environment
from wirt.operations.export_domain import EXPORT
from wirt.operations.fork import FORK
from wirt.operations.image import BUILD_IMAGE
from wirt.operations.import_domain import IMPORT
from wirt.operations.jobs.step import JobKind, Operation
from wirt.operations.memory import MEM_SET
from wirt.operations.migrate_offline import MIGRATE_OFFLINE
from wirt.operations.migrate_steps import MIGRATE
from wirt.operations.network import NETWORKING
from wirt.operations.pools_verbs import POOLS
from wirt.operations.qos_verbs import QOS_OPERATIONS
from wirt.operations.receive import RECEIVE
from wirt.operations.receive_offline import RECEIVE_OFFLINE
from wirt.operations.refresh import REFRESH
from wirt.operations.save import SAVES
from wirt.operations.save_restore import RESTORE_GUEST
from wirt.operations.snapshots_back import REVERTS
from wirt.operations.snapshots_remove import SNAPSHOT_DELETE
from wirt.operations.snapshots_take import SNAPSHOT_CREATE
from wirt.operations.template import TEMPLATES
from wirt.operations.vcpus import VCPU_SET
from wirt.operations.vif import ATTACH, DETACH, LINK
from wirt.operations.vif_rate import RATE
from wirt.operations.volumes import VOLUMES
from wirt.operations.volumes_copy import COPIES

OPERATIONS: Mapping[JobKind, Operation[Environment]] = {
    operation.kind: operation
    for operation in (
        CREATE,
        START,
        DESTROY,
        BUILD_IMAGE,
        BOOTSTRAP,
        CLONE,
        FORK,
        *TEMPLATES,
        IMPORT,
        EXPORT,
        *(BACKUP, RESTORE, VERIFY, BOOT, PRUNE),
        ATTACH,
        DETACH,
        LINK,
        *NETWORKING,
        *POOLS,
        *VOLUMES,
        *COPIES,
        DISK_MOVE,
        DISK_QOS,
        MEM_SET,
        VCPU_SET,
        RATE,
        *QOS_OPERATIONS,
        SNAPSHOT_CREATE,
        *REVERTS,
        SNAPSHOT_DELETE,
        MIGRATE,
        RECEIVE,
        *(MIGRATE_OFFLINE, RECEIVE_OFFLINE),
        REFRESH,
        *SAVES,
        RESTORE_GUEST,
        *CONCLUSIONS.values(),
    )
}
