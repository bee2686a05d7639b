"""What the contenders run on: wirtd, a bare QEMU, libvirt, and the workshop that ends them all."""
