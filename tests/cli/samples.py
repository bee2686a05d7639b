"""Answers of the API that several tests use."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

UUID = "73b8b256-ebb1-4d9f-ab2b-9382dba281a2"


def domain(name: str, domid: int | None, flags: str = "r-----", **fields: Any) -> Json:
    return {
        "name": name,
        "uuid": UUID,
        "domid": domid,
        "type": "pvh",
        "state": "off" if domid is None else "running",
        "flags": flags,
        "memory_mib": 128,
        "vcpus": 1,
        "cpu_time_s": 23.1,
        "uptime_s": None if domid is None else 140.0,
        "persistent": domid is None,
        "hypervisor": "qemu",
        "epoch": 1,
        "vifs": [],
        "disks": [],
        **fields,
    }


def domain_0(**fields: Any) -> Json:
    return domain(
        "Domain-0",
        0,
        **{
            "uuid": "00000000-0000-0000-0000-000000000000",
            "type": "host",
            "memory_mib": 1024,
            "vcpus": 2,
            "cpu_time_s": 127.9,
            "uptime_s": 204.9,
            **fields,
        },
    )


def domain_list(*domains: Json) -> Json:
    return {"domains": list(domains), "revision": 7, "api": "v1"}


def detail(found: Json) -> Json:
    return {"domain": found, "text": f'name = "{found["name"]}"\n', "config": {"name": found["name"]}, "api": "v1"}


def job(state: str = "done", **fields: Any) -> Json:
    return {
        "id": "j1",
        "kind": "create",
        "subject": "web",
        "state": state,
        "progress": 1.0 if state == "done" else 0.25,
        "message": "starting QEMU",
        "steps": [{"name": "reserve memory", "state": "done"}, {"name": "start", "state": "running"}],
        "created_at": 1_700_000_000.0,
        "result": {"uuid": UUID, "name": "web", "domid": 3} if state == "done" else {},
        "notices": [],
        "api": "v1",
        **fields,
    }


INFO: Json = {
    "host": "xenlab",
    "release": "6.1.0-56-amd64",
    "machine": "x86_64",
    "nr_cpus": 2,
    "total_memory": 3071,
    "free_memory": 2014,
    "wirt_version": "0.1.0",
    "hypervisor": "qemu",
    "hypervisor_version": "10.0.2",
    "accelerator": "tcg",
    "accelerator_reason": "/dev/kvm is not there",
    "guest_types": ["hvm", "pvh", "pv"],
    "networking": "bridges",
    "home": "/var/lib/wirt",
    "daemon_pid": 4711,
    "daemon_uptime_s": 3723.5,
    "notes": ["pv and pvh are the same direct boot here"],
    "api": "v1",
}
