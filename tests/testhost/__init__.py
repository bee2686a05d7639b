"""The test host: a Debian guest in which tests run what this machine's kernel lacks.

In it: systemd, control groups of version 2, LVM, NFS, VLAN filtering, 802.1q, netem, connections in bridges, QEMU
10, and KVM that works (software emulation gives it AMD's SVM). No network, no compiler, one CPU.

- An ordinary test with ``@pytest.mark.testhost`` runs there, all of a session's in one pytest, last. Its outcome,
  output and traceback are shown as if it had run here. The fixture ``tiny`` works there as everywhere.
- A test outside drives one by the fixture ``testhost``: ``testhost.run("nft", "list", "ruleset").text``, ``put``,
  ``get``, ``put_work_tree``. Whatever is done in one, no other one sees: each starts from the same snapshot.
- By hand: ``make testhost ARGS=shell``, or ``make testhost ARGS='run pytest ...'`` (in a copy of the work tree).
- It is built when it is missing (two minutes, 0.8 GB in ``.cache/testhost``), and anew when the recipe, the lock
  file or the QEMU outside changes; sources are copied in at each use. What is in it says :mod:`.recipe`.
- Free to use up: ``/dev/disk/by-id/virtio-scratch`` (4 GiB), the user ``guest``. Everything there takes ten times
  as long as here: give waits their time, and start few guests.
"""
