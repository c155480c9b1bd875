#!/bin/sh
# Installs frankd: two programs, their manual, a user, systemd units and a configuration. Doing it again upgrades.
#
#   install.sh [--prefix DIR] FOLDER   install the programs frankd and frankctl found in FOLDER (prefix: /usr/local)
#   install.sh [--prefix DIR] --uninstall    stop and remove the programs, manual and units; keep configuration, queue and tokens
#   install.sh [--prefix DIR] --purge        the same, and remove configuration, queue, tokens and the user too
#
# Works without a running systemd too (in an image, say): then nothing is started.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/local
action=
folder=
units='frankd.service frankd.socket frankd-submit.socket'

usage() { sed -n 's/^#   //p' "$0" >&2; exit 2; }
say() { echo "install.sh: $*"; }
running() { [ -d /run/systemd/system ]; }

while [ $# -gt 0 ]; do
  case $1 in
    --prefix) [ $# -ge 2 ] || usage; prefix=$2; shift ;;
    --uninstall) action=uninstall ;;
    --purge) action=purge ;;
    -*) usage ;;
    *) [ -z "$folder" ] || usage; folder=$1 ;;
  esac
  shift
done
case ${action:+action}${folder:+folder} in
  action) ;;
  folder) action=install ;;
  *) usage ;;
esac
case $prefix in /*) ;; *) usage ;; esac
# systemd looks for units beneath these two prefixes and in /etc, nowhere else.
case $prefix in /usr|/usr/local) system=$prefix/lib ;; *) system=/etc ;; esac
[ "$(id -u)" = 0 ] || { say 'needs root' >&2; exit 1; }

install_user() {
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers "$system/sysusers.d/frankd.conf"
  elif ! getent passwd frankd >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /var/lib/frankd --shell /usr/sbin/nologin frankd
  fi
}

install_directories() {
  install -d -m 0750 -o root -g frankd /etc/frankd /etc/frankd/frankd.toml.d /etc/frankd/secrets
  install -d -m 0700 -o frankd -g frankd /var/lib/frankd
  [ -e /etc/frankd/frankd.toml ] || install -m 0640 -o root -g frankd "$here/frankd.toml" /etc/frankd/frankd.toml
}

# A page goes to the section that its name ends with.
install_manual() {
  for page in "$here"/man/*; do
    install -D -m 0644 "$page" "$prefix/share/man/man${page##*.}/${page##*/}"
  done
}

remove_manual() {
  rm -f "$prefix/share/man/man1/frankctl.1" "$prefix"/share/man/man1/frankctl-*.1 \
    "$prefix/share/man/man5/frankd.toml.5" "$prefix/share/man/man8/frankd.8"
}

# A running program is replaced, not written over.
install_program() {
  install -D -m 0755 "$folder/$1" "$2.new"
  mv -f "$2.new" "$2"
}

install_all() {
  for program in frankd frankctl; do
    [ -x "$folder/$program" ] || { say "there is no program $program in $folder" >&2; exit 1; }
  done
  install_program frankd "$prefix/sbin/frankd"
  install_program frankctl "$prefix/bin/frankctl"
  # Of another version pages may be left that this one has not.
  remove_manual
  install_manual
  install -D -m 0644 "$here/sysusers.d/frankd.conf" "$system/sysusers.d/frankd.conf"
  install -D -m 0644 "$here/tmpfiles.d/frankd.conf" "$system/tmpfiles.d/frankd.conf"
  install -d -m 0755 "$system/systemd/system"
  for unit in $units; do
    sed "s|^\(Exec[A-Za-z]*\)=/usr/sbin/|\1=$prefix/sbin/|" "$here/systemd/$unit" > "$system/systemd/system/$unit"
    chmod 0644 "$system/systemd/system/$unit"
  done
  install_user
  install_directories
  if running; then
    systemctl daemon-reload
    systemctl --quiet enable $units
    # The sockets stay open, so that callers wait instead of failing while the service is replaced.
    systemctl start frankd.socket frankd-submit.socket
    systemctl restart frankd.service
    say "frankd runs; next: $prefix/bin/frankctl status"
  else
    say 'installed; systemd does not run here, so nothing was started'
  fi
}

remove_all() {
  if running && [ -e "$system/systemd/system/frankd.service" ]; then
    systemctl --quiet disable --now $units || say 'systemd does not know all units; going on' >&2
  fi
  for unit in $units; do rm -f "$system/systemd/system/$unit"; done
  rm -f "$prefix/sbin/frankd" "$prefix/bin/frankctl" "$system/sysusers.d/frankd.conf" "$system/tmpfiles.d/frankd.conf"
  remove_manual
  if running; then
    systemctl daemon-reload
    systemctl --quiet reset-failed $units 2>/dev/null || true
  fi
  [ ! -d /run/frankd ] || rmdir --ignore-fail-on-non-empty /run/frankd
}

case $action in
  install) install_all ;;
  uninstall)
    remove_all
    say 'removed; kept: /etc/frankd, /var/lib/frankd and the user frankd' ;;
  purge)
    remove_all
    rm -rf /etc/frankd /var/lib/frankd
    if getent passwd frankd >/dev/null; then userdel frankd; fi
    if getent group frankd >/dev/null; then groupdel frankd; fi
    say 'removed, with configuration, queue, tokens and user' ;;
esac
