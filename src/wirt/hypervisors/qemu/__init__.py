"""QEMU: command line, monitor, runs. The mechanism under hvm, pvh and pv guests on KVM and TCG."""
