#!/usr/bin/env bash
# Installs, where they are missing, the Debian packages that the end-to-end tests start: the real
# Prometheus, rsyslog, syslog-ng and others. Nothing is started and no service is enabled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Program on PATH, and the package that brings it.
PEERS=(
    prometheus:prometheus
    promtool:prometheus
    prometheus-node-exporter:prometheus-node-exporter
    victoria-metrics:victoria-metrics
    logger:bsdutils
    rsyslogd:rsyslog
    openssl:openssl
    /lib/systemd/systemd-journal-remote:systemd-journal-remote
    node:nodejs
    npm:npm
)

# Packages that bring no program.
MODULES=(
    rsyslog-elasticsearch
    rsyslog-openssl
)

# Debian has one system logger at a time. This one is unpacked here, and not installed.
SYSLOG_NG=build/peers/syslog-ng

packages=()
for peer in "${PEERS[@]}"; do
    command -v "${peer%%:*}" >/dev/null || packages+=("${peer#*:}")
done
for module in "${MODULES[@]}"; do
    dpkg-query --show --showformat '${Status}' "$module" 2>/dev/null | grep -q ' installed$' ||
        packages+=("$module")
done
unpack=()
command -v syslog-ng >/dev/null || [ -x "$SYSLOG_NG/usr/sbin/syslog-ng" ] || unpack=(syslog-ng-core)
[ "${#packages[@]}" -gt 0 ] || [ "${#unpack[@]}" -gt 0 ] || exit 0
mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sed '/^$/d' | sort -u)

cannot() {
    printf 'obsd: the end-to-end tests need %s: %s\n' "${packages[*]} ${unpack[*]}" "$1" >&2
    exit 1
}

command -v apt-get >/dev/null || cannot "no apt-get here; install them by hand"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null ||
        cannot "run as root: scripts/peers.sh"
    as_root=(sudo --non-interactive)
fi

# Debian's packages start their services on installation unless this policy forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get --yes --no-install-recommends "$@"
}

install_packages() {
    apt update || return 1
    [ "${#packages[@]}" -eq 0 ] || apt install "${packages[@]}" || return 1
    [ "${#unpack[@]}" -eq 0 ] || unpack_syslog_ng
}

unpack_syslog_ng() {
    rm -rf "$SYSLOG_NG" && mkdir -p "$SYSLOG_NG" || return 1
    (cd "$SYSLOG_NG" && apt-get download "${unpack[@]}") || return 1
    apt satisfy "$(dpkg-deb --field "$SYSLOG_NG"/*.deb Depends)" || return 1
    dpkg-deb --extract "$SYSLOG_NG"/*.deb "$SYSLOG_NG"
}

printf 'obsd: installing %s for the end-to-end tests\n' "${packages[*]} ${unpack[*]}"
log=$(mktemp)
if ! install_packages >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    cannot "apt-get failed, see above"
fi
rm -f "$log"
