#!/usr/bin/env bash
# Installs, where they are missing, the Debian packages that the end-to-end tests start: the real
# Prometheus, its node exporter and VictoriaMetrics. Nothing is started and no service is enabled.
set -euo pipefail

# Program on PATH, and the package that brings it.
PEERS=(
    prometheus:prometheus
    promtool:prometheus
    prometheus-node-exporter:prometheus-node-exporter
    victoria-metrics:victoria-metrics
)

packages=()
for peer in "${PEERS[@]}"; do
    command -v "${peer%%:*}" >/dev/null || packages+=("${peer#*:}")
done
[ "${#packages[@]}" -gt 0 ] || exit 0
mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)

cannot() {
    printf 'obsd: the end-to-end tests need %s: %s\n' "${packages[*]}" "$1" >&2
    exit 1
}

command -v apt-get >/dev/null || cannot "no apt-get here; install them by hand"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null ||
        cannot "run as root: apt-get install ${packages[*]}"
    as_root=(sudo --non-interactive)
fi

# Debian's packages start their services on installation unless this policy forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

printf 'obsd: installing %s for the end-to-end tests\n' "${packages[*]}"
log=$(mktemp)
install_packages() {
    "${as_root[@]}" apt-get update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install --yes --no-install-recommends "${packages[@]}"
}
if ! install_packages >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    cannot "apt-get failed, see above"
fi
rm -f "$log"
