#!/usr/bin/env bash
# Unpacks Debian 12's own QEMU 7.2 into DIR, beside the QEMU that is installed, for the tests that take both.
# Nothing is installed; any user may run it. QEMU finds its modules and firmware relative to where it lies.
#
#   tools/setup/qemu-distribution.sh DIR
set -euo pipefail

dir=${1:?usage: qemu-distribution.sh DIR}
qemu=$dir/usr/bin/qemu-system-x86_64

skip() { printf 'QEMU 7.2 beside the installed one: %s\n' "$*"; exit 0; }

[ ! -e "$dir/complete" ] || exit 0
case $(dpkg-query -W -f '${Version}' qemu-system-x86 2>/dev/null) in 1:7.2*) skip "it is the installed one" ;; esac

# The newest version of a package that is not a backport.
newest() { apt-cache madison "$1" | awk '$3 !~ /~bpo/ { print $3; exit }'; }

version=$(newest qemu-system-x86)
case $version in
1:7.2*) ;;
'') skip "apt knows of none; as root: apt-get update" ;;
*) skip "not in this Debian's archive, which has $version; tests between versions need it" ;;
esac

work=$dir.part
rm -rf "$work" "$dir"
mkdir -p "$work"
wanted=()
# seabios and ipxe-qemu: an unpacked QEMU looks for its firmware beside itself too
for name in qemu-system-x86 qemu-system-common qemu-system-data qemu-utils seabios ipxe-qemu; do
    wanted+=("$name=$(newest "$name")")
done
printf 'QEMU 7.2 beside the installed one: downloading %s ...\n' "$version"
(cd "$work" && apt-get download -qq "${wanted[@]}" >download.log 2>&1) || {
    cat "$work/download.log" >&2
    exit 1
}
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work"
    rm "$package"
done
mv "$work" "$dir"

# Modules for sound and screens want libraries that nobody else here does; QEMU complains only of those it finds
for module in "$dir"/usr/lib/*/qemu/*.so; do
    ! ldd "$module" | grep -q 'not found' || rm "$module"
done
# For itself it has the libraries of the installed QEMU
if ldd "$qemu" "$dir/usr/bin/qemu-img" | grep 'not found' >&2; then
    printf 'QEMU 7.2 in %s lacks these libraries; is the installed QEMU from tools/setup.sh?\n' "$dir" >&2
    exit 1
fi
"$qemu" --version | head -n 1
touch "$dir/complete"
