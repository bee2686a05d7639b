#!/usr/bin/env bash
# Sets this machine up for wirt: system packages through apt, and .venv from the lock file.
#
#   tools/setup.sh [run|test|bench|packages]
#
# run is what using wirt takes, test adds what its tests take, bench what it is measured against; packages
# installs run's system packages and leaves .venv alone. QEMU=distribution, on Debian 12, takes Debian's QEMU 7.2
# instead of QEMU 10 from backports; the choice is remembered until QEMU=backports. As an ordinary user nothing
# is installed: what is missing is named.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV

goal=${1:-run}
python=${PYTHON:-/usr/bin/python3}
apt_etc=/etc/apt
state=.cache/setup
log=$state/setup.log
# shellcheck source=tools/setup/backports.sh
. tools/setup/backports.sh

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

# What COMMAND prints goes to the log, which holds one run of this script.
logged() {
    [ -n "${log_begun:-}" ] || { mkdir -p "${log%/*}" && : >"$log"; }
    log_begun=yes
    printf '\n== %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null
}

# step WORDS COMMAND...: says what is being done, and shows the log's end if it fails.
step() {
    say "$1 ..."
    shift
    logged "$@" && return 0
    printf '\nsetup: this failed: %s\n' "$*" >&2
    tail -n 40 "$log" >&2
    fail "the whole log: $(realpath "$log")"
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

# ---- system packages

# The list's entries for the goal, one a line.
wanted() {
    local groups='run|image'
    case $goal in
    run | packages) ;;
    test) groups+='|test' ;;
    bench) groups+='|test|bench' ;;
    *) printf 'setup: no such goal: %s (run, test, bench, packages)\n' "$goal" >&2; exit 2 ;;
    esac
    sed -nE "s/^($groups) +([^ ]+).*/\2/p" tools/setup/packages.txt
}

# The entries of which no alternative is installed.
missing() {
    local entry installed
    # dpkg-query fails when it doesn't know one of the names, and answers for the others all the same
    # shellcheck disable=SC2086
    installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' ${1//|/ } 2>/dev/null |
        sed -n 's/^installed //p' | tr '\n' ' ')" || true
    for entry in $1; do
        [[ $installed =~ \ (${entry//./\\.})\  ]] || printf '%s\n' "$entry"
    done
}

# this|that: the first that the archive has.
resolve() {
    local entry name
    for entry in "$@"; do
        for name in ${entry//|/ }; do
            [ "$name" = "$entry" ] || apt-cache show "$name" >/dev/null 2>&1 || continue
            printf '%s\n' "$name"
            continue 2
        done
        printf '%s\n' "${entry%%|*}"
    done
}

qemu_choice() {
    local remembered=backports
    if [ -r $state/qemu ]; then remembered=$(<$state/qemu); fi
    case ${QEMU:-$remembered} in
    backports | distribution) printf '%s\n' "${QEMU:-$remembered}" ;;
    *) printf 'setup: QEMU=%s: it is backports or distribution\n' "$QEMU" >&2; exit 2 ;;
    esac
}

debian_12() { grep -qx ID=debian /etc/os-release && grep -qx VERSION_CODENAME=bookworm /etc/os-release; }

qemu_major() {
    local version
    version=$(dpkg-query -W -f '${Version}' qemu-system-x86 2>/dev/null) || version=0
    version=${version#*:}
    printf '%s\n' "${version%%.*}"
}

want_backports() { [ "$choice" = backports ] && debian_12 && [ "$(qemu_major)" -lt 10 ]; }

use_backports() {
    backports_present && return 0
    if ! backports_already_there; then
        say "adding bookworm-backports, for QEMU 10 and nothing else ..."
        logged backports_add_source || fail \
            "bookworm-backports, where QEMU 10 is, can't be reached through the mirror this machine uses:" \
            "$(grep -E 'Failed to fetch|does not have' "$log" | tail -n 1)" \
            "Try again, add it to /etc/apt yourself, or take Debian's own QEMU 7.2: make setup QEMU=distribution"
    fi
    backports_pin
}

# Back to Debian's own QEMU, if it was this script that brought the other.
drop_backports() {
    backports_present || {
        [ -z "${QEMU:-}" ] || ! debian_12 || [ "$(qemu_major)" -lt 10 ] ||
            say "QEMU $(qemu_major) is installed, and not by this script, which leaves it"
        return 0
    }
    backports_remove
    local names
    mapfile -t names < <(dpkg-query -W -f '${source:Package} ${Version} ${Package}/bookworm\n' |
        sed -nE 's/^(qemu|seabios) [^ ]*~bpo12[^ ]* //p')
    step "reading the package lists" apt_get update
    [ ${#names[@]} = 0 ] || step "going back to Debian's QEMU" \
        apt_get install --no-install-recommends --allow-downgrades "${names[@]}"
}

system_packages() {
    local list lacking names
    list=$(wanted)
    command -v dpkg-query >/dev/null || {
        say "not a Debian system: it is up to you that these are there:" "$list"
        return 0
    }
    lacking=$(missing "$list")
    if [ "$(id -u)" != 0 ]; then
        [ -z "$lacking" ] && return 0
        # shellcheck disable=SC2086
        mapfile -t names < <(resolve $lacking)
        printf 'setup: packages are missing. Please run:\n    sudo apt-get install --no-install-recommends %s\n' \
            "${names[*]}" >&2
        ! want_backports || printf 'or, for QEMU 10 from backports:\n    sudo %s/tools/setup.sh packages\n' "$PWD" >&2
        exit 1
    fi
    [ "$choice" = backports ] || drop_backports
    if ! want_backports && [ -z "$lacking" ]; then return 0; fi
    say "reading the package lists ..."
    # Other people's repositories may be out of reach; if one that is needed is, the next step says so
    logged apt_get update || say "apt-get update had errors (see $log); going on"
    if want_backports; then
        use_backports
        lacking+=" qemu-system-x86 qemu-utils"
    fi
    # shellcheck disable=SC2046,SC2086
    mapfile -t names < <(resolve $lacking | sort -u)
    step "installing ${names[*]}" apt_get install --no-install-recommends "${names[@]}"
}

# ---- Python

# The console script that pip writes imports re; wirt's own start is short enough for that to show.
short_launchers() {
    .venv/bin/python - <<'LAUNCHERS'
import pathlib, sys, tomllib

for name, target in tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]["scripts"].items():
    module, function = target.split(":")
    launcher = pathlib.Path(sys.prefix, "bin", name)
    launcher.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    launcher.chmod(0o755)
LAUNCHERS
}

# key FILES: changes when a file, the interpreter or the place of the checkout does.
key() { { cat "$@"; readlink -f "$python"; pwd; } | sha256sum | cut -d' ' -f1; }
current() { [ "$(cat ".venv/stamp-$1" 2>/dev/null)" = "$(key "${@:2}")" ]; }

python_environment() {
    local lock=requirements.txt
    [ "$goal" = run ] || lock=requirements-dev.txt
    # What the tests need holds what wirt needs
    if ! current requirements-dev.txt requirements-dev.txt && ! current $lock $lock; then
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
            fail "$python must be Python 3.11 or newer (another one: make setup PYTHON=...)"
        rm -rf .venv
        step "making .venv" "$python" -m venv .venv
        step "installing $lock" .venv/bin/python -m pip install --disable-pip-version-check \
            --require-hashes --no-deps -r $lock
        key $lock >.venv/stamp-$lock
    fi
    current wirt pyproject.toml tools/setup.sh && return 0
    step "installing wirt" .venv/bin/python -m pip install --disable-pip-version-check \
        --no-deps --no-build-isolation -e .
    short_launchers
    key pyproject.toml tools/setup.sh >.venv/stamp-wirt
}

choice=$(qemu_choice)
if [ "$goal" = packages ]; then
    # Through sudo: nothing of root's may be left in the user's checkout
    log=$(mktemp)
    system_packages
    rm -f "$log"
    exit 0
fi
system_packages
if [ -n "${QEMU:-}" ]; then mkdir -p $state && printf '%s\n' "$choice" >$state/qemu; fi
python_environment
