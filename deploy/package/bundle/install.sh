#!/bin/sh
# Installs edge-agent out of this folder, without a network: ./install.sh [--uninstall | --purge]
#
# The agent goes to /opt/edge-agent, a link to a folder of its version, so that an upgrade that fails leaves what ran.
set -eu
umask 022 # whatever it is here: the agent's user has to read what is installed

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
home=/opt/edge-agent
units=/etc/systemd/system
config=/etc/edge-agent/edge-agent.yaml

fail() { # what is wrong, what to do
    echo "install.sh: $1" >&2
    [ $# -lt 2 ] || echo "  $2" >&2
    exit 1
}

has_systemd() { [ -d /run/systemd/system ]; }

uninstall() {
    if has_systemd; then systemctl disable --now --quiet edge-agent.service 2>/dev/null || true; fi
    rm -f "$units/edge-agent.service" /usr/local/bin/edge-agent
    rm -f /etc/sysusers.d/edge-agent.conf /etc/tmpfiles.d/edge-agent.conf
    rm -f "$home"
    for made in "$home"-[0-9]*; do
        if [ -f "$made/edge-agent.service" ]; then rm -rf "$made"; fi
    done
    if has_systemd; then systemctl daemon-reload; fi
}

is_new_enough() { # a Python of a version that there are wheels for, with venv
    command -v "$1" >/dev/null || return 1
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || return 1
    grep -qxF "$version" "$here/PYTHONS" || return 1
    "$1" -c 'import venv, ensurepip' 2>/dev/null
}

switch_to() { # a folder that has the agent and its unit
    ln -sfn "$1" "$home.new"
    mv -T "$home.new" "$home"
    cp "$1/edge-agent.service" "$units/edge-agent.service"
    if has_systemd; then systemctl daemon-reload; fi
}

[ "$(id -u)" = 0 ] || fail "it installs for the whole machine and must run as root" "sudo $0 $*"

if [ -e "$home" ] && [ ! -L "$home" ]; then
    fail "$home is a folder that this script did not make" "move it away: mv $home $home.old"
fi

case "${1-}" in
    "") ;;
    --uninstall)
        uninstall
        echo "edge-agent is uninstalled. /etc/edge-agent and /var/lib/edge-agent are still there; --purge deletes them."
        exit 0
        ;;
    --purge)
        uninstall
        rm -rf /etc/edge-agent /var/lib/edge-agent /var/lib/private/edge-agent
        echo "edge-agent is uninstalled; configuration and data are deleted."
        exit 0
        ;;
    *) fail "unknown argument $1" "usage: $0 [--uninstall | --purge]" ;;
esac

machine=$(cat "$here/MACHINE")
[ "$(uname -m)" = "$machine" ] || fail "this bundle is for $machine, and this machine is $(uname -m)" \
    "take edge-agent-$(cat "$here/VERSION")-linux-$(uname -m).tar.gz"
python=""
for candidate in python3 python3.13 python3.12 python3.11; do
    if is_new_enough "$candidate"; then python=$candidate; break; fi
done
[ -n "$python" ] || fail "no Python $(paste -sd' ' "$here/PYTHONS" | sed 's/ / or /g') with venv" \
    "install it first (Debian, Ubuntu: apt-get install python3-venv)"

target="$home-$(cat "$here/VERSION")-$(date +%Y%m%d%H%M%S)"
trap 'rm -rf "$target"' EXIT
"$python" -m venv "$target"
"$target/bin/pip" install --quiet --disable-pip-version-check --no-index --find-links "$here/wheels" --no-deps \
    --only-binary :all: --require-hashes --requirement "$here/requirements.txt"
"$target/bin/edge-agent" version >/dev/null
cp "$here/edge-agent.service" "$target/"
previous=$(readlink "$home" || true)
mkdir -p /usr/local/bin
ln -sfn "$home/bin/edge-agent" /usr/local/bin/edge-agent
for kind in sysusers tmpfiles; do
    mkdir -p "/etc/$kind.d"
    cp "$here/edge-agent.$kind" "/etc/$kind.d/edge-agent.conf"
done
if command -v systemd-sysusers >/dev/null; then systemd-sysusers edge-agent.conf; fi
if command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create edge-agent.conf; fi
mkdir -p "$units"
trap - EXIT
switch_to "$target"
if has_systemd && ! systemctl try-restart edge-agent.service; then
    [ -d "$previous" ] || fail "edge-agent did not start" "journalctl -u edge-agent says why"
    switch_to "$previous"
    rm -rf "$target"
    systemctl reset-failed edge-agent.service
    systemctl restart edge-agent.service || echo "install.sh: the previous version does not start either" >&2
    fail "edge-agent $(cat "$here/VERSION") did not start: the previous version is back, with its data" \
        "journalctl -u edge-agent says why"
fi
if [ -n "$previous" ] && [ "$previous" != "$target" ]; then rm -rf "$previous"; fi

echo "edge-agent $(cat "$here/VERSION") is in $home."
if [ ! -e "$config" ]; then
    echo "Write $config (example: $here/examples/service.yaml), then: edge-agent check $config"
    echo "and: systemctl enable --now edge-agent"
fi
