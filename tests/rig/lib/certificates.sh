#!/bin/bash
# certificates.sh DIR: a throw-away PKI for one rig.
#   ca.pem                    the test CA (its key is not kept)
#   server.pem server.key     localhost, as.rig.test, mail.rig.test, 127.0.0.1, ::1
#   as-rs256.key as-rs256.pub the key that signs JWT access tokens
set -euo pipefail
mkdir -p "$1"
cd "$1"
umask 077
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

key ca.key
openssl req -x509 -new -key ca.key -sha256 -days 30 -subj '/O=rig/CN=rig test CA' -out ca.pem \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
key server.key
openssl req -new -key server.key -subj /CN=localhost -out server.csr 2>/dev/null
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -sha256 -out server.pem -extfile <(
  echo 'subjectAltName=DNS:localhost,DNS:as.rig.test,DNS:mail.rig.test,IP:127.0.0.1,IP:::1'
  printf '%s\n' basicConstraints=CA:FALSE keyUsage=digitalSignature extendedKeyUsage=serverAuth) 2>/dev/null
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out as-rs256.key 2>/dev/null
openssl pkey -in as-rs256.key -pubout -out as-rs256.pub
rm -f ca.key server.csr ./*.srl
chmod 644 ./*.pem ./*.pub
