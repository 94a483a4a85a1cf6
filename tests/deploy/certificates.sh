#!/bin/sh
# Makes the certificates for TLS, in the current folder. It needs OpenSSL.
#
#   sh certificates.sh authority                # once: authority.pem, and authority.crt without its key
#   sh certificates.sh server upcase.example    # server.pem, for the name to which clients connect
#   sh certificates.sh client alice             # alice.pem, for a person or a machine
#
# A .pem file is a private key and its certificate. The server needs authority.crt and server.pem; alice needs
# authority.crt and alice.pem. Whoever has authority.pem can let in anyone: keep it on another machine.
#
# A certificate of a server or a client is valid for a year. There is no list of revoked certificates: to shut somebody
# out, make a new authority, and new certificates for everybody.
set -eu
umask 077 # a key is for its owner only
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# make FILE NAME DAYS SIGNER...: a key and its certificate, with the extensions in standard input.
make() {
    file=$1 name=$2 days=$3
    shift 3
    if [ -e "$file" ]; then
        echo "$file exists; to make a new one, move it away first" >&2
        exit 1
    fi
    cat > "$work/extensions"
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key"
    openssl req -new -key "$work/key" -subj "/CN=$name" -out "$work/request"
    # The serial number is random, because the authority keeps no list.
    openssl x509 -req -in "$work/request" -days "$days" -set_serial "0x$(openssl rand -hex 19)" \
        -extfile "$work/extensions" -out "$work/certificate" "$@"
    cat "$work/key" "$work/certificate" > "$file"
}

case $#:${1-}:${2-} in
    *[!A-Za-z0-9.:-]*) set -- ;; # such a name would need quoting in the certificate
esac
case $#:${1-} in
    1:authority)
        make authority.pem 'UPCASE authority' 3650 -signkey "$work/key" <<'END'
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
END
        openssl x509 -in authority.pem -out authority.crt
        chmod 644 authority.crt
        ;;
    2:server)
        # A client's certificate has another extendedKeyUsage, so no client can pose as the server.
        make server.pem "$2" 365 -CA authority.pem <<END
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$2
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
        ;;
    2:client)
        make "$2.pem" "$2" 365 -CA authority.pem <<'END'
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
        ;;
    *)
        sed -n '4,6s/^# *//p' "$0" >&2
        exit 2
        ;;
esac
