#!/bin/sh
# Makes the secrets of several instances: random, in a folder that root alone can enter. What is there already stays.
#
#   sudo deploy/make-secrets.sh                                            for Compose, in deploy/secrets
#   sudo DATABASE_HOST=127.0.0.1 deploy/make-secrets.sh /etc/openalgo/secrets    for systemd, in a folder of yours
#
# Takes openssl. The key ring is worth as much as all that is stored: back it up, apart from that.
set -eu
umask 077

[ "$(id -u)" -eq 0 ] || { sed -n 's/^# \{0,1\}//p' "$0" >&2; exit 2; }
deploy=$(cd "$(dirname "$0")" && pwd)
instance=10001 # the user of the image
mkdir -p "${1:-${deploy}/secrets}"
cd "${1:-${deploy}/secrets}"

new() { # file, mode, owner, content
    [ ! -e "$1" ] || return 0
    printf '%s\n' "$4" >"$1.new"
    chmod "$2" "$1.new"
    chown "$3" "$1.new"
    mv "$1.new" "$1"
}

hash() { # file
    printf '%s' "$(cat "$1")" | openssl dgst -sha256 -r | cut -d ' ' -f 1
}

new cache_password 0400 root "$(openssl rand -hex 32)"
new cache_administrator_password 0400 root "$(openssl rand -hex 32)"
# Whoever reads these two in a container has another number in each image.
new postgres_password 0444 root "$(openssl rand -hex 32)"
new database_password 0444 root "$(openssl rand -hex 32)"

new ring 0400 "${instance}" "$(openssl rand -base64 32)"
new cache.env 0400 "${instance}" "REDIS_PASSWORD=$(cat cache_password)"
new pg_service.conf 0400 "${instance}" "[openalgo]
host=${DATABASE_HOST:-postgres}
port=${DATABASE_PORT:-5432}
dbname=openalgo
user=openalgo
password=$(cat database_password)"
# The server gets hashes alone.
new users.acl 0444 root "$(sed -e "s/>ADMINISTRATORS_PASSWORD/#$(hash cache_administrator_password)/" \
    -e "s/>PASSWORD/#$(hash cache_password)/" "${deploy}/redis/users.acl")"
echo "In $(pwd): $(echo *)"
