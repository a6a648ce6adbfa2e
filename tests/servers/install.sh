#!/bin/sh
# Installs the servers that the tests run against; does nothing where they are there. Argument: the Python to use.
set -eu
python=$1
PATH=$PATH:/usr/sbin
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
missing=""
need() { # command or file, package
    command -v "$1" >/dev/null || [ -e "$1" ] || missing="$missing $2"
}
need mosquitto mosquitto
need mosquitto_sub mosquitto-clients
need gcc gcc
need /usr/include/stdio.h libc6-dev
need pkg-config pkg-config
need /usr/include/modbus/modbus.h libmodbus-dev
need /usr/include/sqlite3.h libsqlite3-dev
need systemd-analyze systemd
need socat socat
need openssl openssl
need debootstrap debootstrap
need systemd-nspawn systemd-container
need lintian lintian
need qemu-aarch64-static qemu-user-static
need ip iproute2
need promtool prometheus
need /usr/bin/chromium chromium
need /usr/share/fonts/truetype/wqy/wqy-zenhei.ttc fonts-wqy-zenhei
if [ -n "$missing" ]; then
    echo "installing:$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi
mkdir -p .build
"$python" -m tests.servers.opcua_server --install
# A server of OPC UA in C. Its process ends ten minutes after the import of o6, so that nothing else shall find it.
if [ ! -e .build/open62541/installed-2.2.0 ]; then
    "$python" -m venv --clear .build/open62541
    .build/open62541/bin/pip install --quiet --disable-pip-version-check o6==2.2.0
    touch .build/open62541/installed-2.2.0
fi
