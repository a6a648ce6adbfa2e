#!/bin/sh
# Installs the servers that the tests run against; does nothing where they are there. Argument: the Python to use.
set -eu
python=$1
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
missing=""
command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
[ -e /usr/include/sqlite3.h ] || missing="$missing libsqlite3-dev"
[ -e /usr/include/modbus/modbus.h ] || missing="$missing libmodbus-dev"
command -v systemd-analyze >/dev/null || missing="$missing systemd"
if [ -n "$missing" ]; then
    echo "installing:$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi
mkdir -p .build
"$python" -m tests.servers.opcua_server --install
