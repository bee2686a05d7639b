# QEMU 10 on Debian 12: from bookworm-backports, through the mirror that the machine already uses. Sourced by
# tools/setup.sh; $apt_etc is /etc/apt but in tests.
# shellcheck shell=bash disable=SC2154

backports_marker=wirt-backports

# Whether another file than ours already brings bookworm-backports.
backports_already_there() {
    local file
    for file in "$apt_etc"/sources.list "$apt_etc"/sources.list.d/*.list "$apt_etc"/sources.list.d/*.sources; do
        case $file in */$backports_marker.*) continue ;; esac
        [ -r "$file" ] && grep -Eq '^(deb |Suites:).*[[:space:]]bookworm-backports([[:space:]]|$)' "$file" && return 0
    done
    return 1
}

# Writes to DIR, as 1.list, 2.sources ..., every entry that serves bookworm/main, asking for bookworm-backports
# instead. Everything else of the entry is kept: its addresses, its keys, its options.
backports_candidates() {
    local dir=$1 number=0 file line
    while read -r line; do
        number=$((number + 1))
        printf '%s\n' "$line" >"$dir/$number.list"
    done < <(cat "$apt_etc"/sources.list "$apt_etc"/sources.list.d/*.list 2>/dev/null | grep -v 'cdrom:' | sed -nE \
        's/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+)[[:space:]]+bookworm[[:space:]]([^#]*[[:space:]])?main([[:space:]#].*)?$/deb \1\2 bookworm-backports main/p')
    for file in "$apt_etc"/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        case $file in */$backports_marker.*) continue ;; esac
        awk -v dir="$dir" -v number="$number" '
            function has(field, word) { return (" " value[field] " ") ~ ("[ \t\n]" word "[ \t\n]") }
            BEGIN { RS = ""; FS = "\n" }
            {
                delete value; kept = ""; field = ""
                for (i = 1; i <= NF; i++) {
                    if ($i ~ /^#/) continue
                    if ($i !~ /^[ \t]/) { field = tolower($i); sub(/:.*/, "", field) }
                    text = $i; sub(/^[^ \t:]+:[ \t]*/, "", text)
                    value[field] = value[field] " " text
                    if (field !~ /^(types|suites|components)$/) kept = kept $i "\n"
                }
                if (!has("types", "deb") || !has("suites", "bookworm") || !has("components", "main")) next
                if (has("enabled", "no") || value["uris"] ~ /cdrom:/) next
                out = dir "/" ++number ".sources"
                printf "Types: deb\nSuites: bookworm-backports\nComponents: main\n%s", kept > out
                close(out)
            }' "$file"
        number=$(find "$dir" -type f | wc -l)
    done
}

# apt-get update for that one file: it must succeed in full, and leaves the other lists alone.
backports_update() {
    apt_get update -o Dir::Etc::sourcelist="$1" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 \
        -o APT::Update::Error-Mode=any
}

# A repository of somebody else's may serve a suite named bookworm too: the first that has backports is Debian's.
backports_add_source() {
    local dir candidate own
    dir=$(mktemp -d)
    backports_candidates "$dir"
    for candidate in "$dir"/*; do
        [ -e "$candidate" ] || continue
        own=$apt_etc/sources.list.d/$backports_marker.${candidate##*.}
        { printf '# Written by wirt (make setup): QEMU 10. Pinned in preferences.d.\n' && cat "$candidate"; } >"$own"
        chmod 644 "$own"
        if backports_update "$own"; then
            rm -r "$dir"
            return 0
        fi
        rm -f "$own"
    done
    rm -r "$dir"
    return 1
}

backports_pin() {
    local pin=$apt_etc/preferences.d/$backports_marker
    cat >"$pin" <<-PIN
	# Written by wirt (make setup): QEMU, and the one package that it needs newer, come from backports ...
	Package: src:qemu seabios
	Pin: release n=bookworm-backports
	Pin-Priority: 500
	PIN
    # Somebody who brought backports in by himself decides what else may come from there.
    backports_already_there || cat >>"$pin" <<-PIN

	# ... and nothing else does.
	Package: *
	Pin: release n=bookworm-backports
	Pin-Priority: -1
	PIN
}

backports_present() { [ -e "$apt_etc/preferences.d/$backports_marker" ]; }

backports_remove() {
    rm -f "$apt_etc/preferences.d/$backports_marker" "$apt_etc/sources.list.d/$backports_marker".*
}
