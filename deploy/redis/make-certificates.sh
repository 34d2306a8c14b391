#!/bin/sh
# Makes what TLS between the caches and a Redis or Valkey needs: an authority of your own, a certificate for the server
# and one for its clients. What is there already stays, so that one can be renewed by deleting it.
#
#   make-certificates.sh FOLDER HOST...      HOST: names and addresses by which clients call the server
#
# Takes openssl 1.1.1 or newer. Private keys are 0600. Keep ca.key off the server: who has it is believed by everybody.
set -eu
umask 077

if [ $# -lt 2 ]; then
    sed -n 's/^# \{0,1\}//p' "$0" | sed -n 2,8p >&2
    exit 2
fi
folder=$1
shift
mkdir -p "${folder}"
cd "${folder}"

names=''
for host in "$@"; do
    case ${host} in
        *[!0-9.]*) kind=DNS ;;
        *) kind=IP ;;
    esac
    case ${host} in *:*) kind=IP ;; esac
    names="${names:+${names},}${kind}:${host}"
done

key() { # name
    [ -e "$1.key" ] || openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null ||
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null
}

key ca
if [ ! -e ca.crt ]; then
    openssl req -x509 -new -sha256 -key ca.key -days 3650 -subj '/CN=openalgo-cache authority' -out ca.crt \
        -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' -addext 'keyUsage=critical,keyCertSign,cRLSign'
fi

certificate() { # name, extensions
    key "$1"
    [ ! -e "$1.crt" ] || return 0
    extensions=$(mktemp)
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n%s\n' \
        "$2" >"${extensions}"
    openssl req -new -sha256 -key "$1.key" -subj "/CN=openalgo-cache $1" |
        openssl x509 -req -sha256 -days 825 -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" \
            -extfile "${extensions}" -out "$1.crt" 2>/dev/null
    rm -f "${extensions}"
    [ -s "$1.crt" ] || { echo "openssl made no $1.crt" >&2; exit 1; }
}

certificate server "$(printf 'extendedKeyUsage=serverAuth\nsubjectAltName=%s' "${names}")"
certificate client 'extendedKeyUsage=clientAuth'
chmod 644 ./*.crt
echo "In $(pwd): ca.crt, server.crt, server.key, client.crt, client.key; and ca.key, to be kept apart."
