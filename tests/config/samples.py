"""Configurations as people write them, for tests that need something real."""

from __future__ import annotations

PV = """\
# A paravirtual guest, as a distribution's installer leaves it.
name    = "mail"
uuid    = "6c1f7a52-3d4e-4c0b-9a57-0d2f5b9e8a11"
memory  = 512
maxmem  = 1024
vcpus   = 2
kernel  = "/boot/vmlinuz-6.1"
ramdisk = "/boot/initrd.img-6.1"
root    = "/dev/xvda1 ro"
extra   = "console=hvc0 quiet"
disk    = [
    'phy:/dev/vg0/mail-root,xvda1,w',   # root
    'phy:/dev/vg0/mail-swap,xvda2,w',
]
vif = ['mac=00:16:3e:0a:0b:0c, bridge=xenbr0, ip=192.0.2.7 192.0.2.8/24']
on_poweroff = 'destroy'
on_reboot   = 'restart'
on_crash    = 'coredump-restart'
"""

HVM = """\
type = "hvm"; name = "desk"
memory = 0x400
vcpus = 2; maxvcpus = 4
bios = 'ovmf'
boot = "dc"
disk = [ 'desk.qcow2,qcow2,hda,rw', 'images/install.iso,,hdc,cdrom',
         'format=raw, vdev=sdb, access=ro, target=data,=odd.img' ]
vif = [ 'type=ioemu,model=e1000,bridge=xenbr0,rate=10Mb/s@50ms',
        'net=user,forward=tcp:2222:22,forward=udp:53', '' ]
vnc = 1
vnclisten = "0.0.0.0"
usbdevice = ['tablet']
serial = 'pty'
smbios = ["system_serial_number=1=2", "oem=first", "oem=second"]
viridian = [ "all", "!freq" ]
device_model_args_hvm = [ "-device", "usb-mouse" ]
cpus = ["0-3,^2", "node:1"]
"""

PVH = """\
name = 'tiny'
type = 'pvh'
kernel = 'vmlinuz'
ramdisk = "initrd"
cmdline = "console=ttyS0 \\"quoted\\" 'too'"
memory = 96
vnuma = [ [ "pnode=0", "size=96", "vcpus=0", "vdistances=10" ] ]
disk += [ "root.img,raw,xvda" ]
"""


def words(text: str) -> list[str]:
    """Lists of words read better without quotes and commas."""
    return text.split()


ALL = {"pv": PV, "hvm": HVM, "pvh": PVH}
