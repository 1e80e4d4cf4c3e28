#!/bin/bash
# Run by `npm run systemd:test` in a container with systemd as its first process: runs the commands of README.md and checks
# their effect. PORT is the proxy's port; the folder contains what those commands install.
set -euo pipefail
cd /usr/local/stage
says() { echo "== $*"; }
fail() { says "FAILED: $*"; journalctl --no-pager --unit procore-proxy --lines 40; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1: $2, wanted $3"; says "$1: $2"; }
has() { grep -q -- "$2" <<<"$1" || fail "no '$2' in: $1"; }
show() { systemctl show --property "$1" --value procore-proxy; }
call() { curl --silent --output /dev/null --write-out '%{http_code}' "$@"; }
trap 'fail "line $LINENO"' ERR
URL=http://127.0.0.1:$PORT

says 'the commands of the README'
# shellcheck disable=SC1091
source ./commands.sh

says 'what runs'
is 'state' "$(systemctl is-active procore-proxy)" active
is 'a call through it' "$(call "$URL/acme/rest/v1.0/me")" 200
status=$(cat "/proc/$(show MainPID)/status")
grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp|VmRSS|Threads)' <<<"$status"
has "$status" $'^CapEff:\t0000000000000000'
has "$status" $'^CapBnd:\t0000000000000000'
has "$status" $'^NoNewPrivs:\t1'
has "$status" $'^Seccomp:\t2'
[[ $status =~ Uid:[[:space:]]([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 61184 ] || fail 'it is not a dynamic user'
ls -l /run/credentials/procore-proxy.service/
systemd-analyze security procore-proxy --no-pager | tail -1

says 'a changed file is applied, and a reload works'
sed -i 's/acme:/acme-two:/' /etc/procore-proxy/config.yaml
systemctl reload procore-proxy
timeout 10 bash -c "until [ \$(curl -s -o /dev/null -w '%{http_code}' $URL/acme-two/rest/v1.0/me) = 200 ]; do sleep 0.1; done" ||
  fail 'the new configuration is not in force'

says 'a crash leads to a restart'
before=$(show MainPID)
kill -KILL "$before"
timeout 20 bash -c "until [ \"\$(systemctl show -P MainPID procore-proxy)\" != $before ] && [ \"\$(systemctl is-active procore-proxy)\" = active ]; do sleep 0.1; done" ||
  fail 'it was not started again'
is 'a call through it' "$(call "$URL/acme-two/rest/v1.0/me")" 200

says 'a unix socket below /run/procore-proxy'
sed -i "s|^listen:.*|listen: [127.0.0.1:$PORT, unix:/run/procore-proxy/proxy.sock]|" /etc/procore-proxy/config.yaml
systemctl restart procore-proxy
is 'a call through it' "$(call --unix-socket /run/procore-proxy/proxy.sock http://localhost/acme-two/rest/v1.0/me)" 200

says 'it stops cleanly'
systemctl stop procore-proxy
is 'result' "$(show Result) $(show ExecMainStatus)" 'success 0'

says 'a mistake in the configuration leads to no restart'
echo 'listn: 1' >>/etc/procore-proxy/config.yaml
systemctl start procore-proxy && fail 'it started'
is 'result' "$(show ExecMainStatus) $(show NRestarts)" '2 0'
journalctl --no-pager --output cat --unit procore-proxy --lines 12 | grep listn || fail 'the mistake is not in the journal'
systemctl reset-failed procore-proxy

says 'one company by variables'
mkdir -p /etc/systemd/system/procore-proxy.service.d
rm /etc/procore-proxy/config.yaml
cp drop-in.conf /etc/systemd/system/procore-proxy.service.d/
systemctl daemon-reload
systemctl start procore-proxy
is 'a call through it' "$(call "$URL/rest/v1.0/me")" 200
systemctl stop procore-proxy

says 'all of it worked'
