#!/usr/bin/env bash
# Pins the base images of the Dockerfile, by digest, to what their tags stand for now; again: renews the pins. Needs skopeo.
set -euo pipefail
cd "$(dirname "$0")/../.."

for name in NODE_IMAGE RUNTIME_IMAGE; do
  image=$(sed -n "s/^ARG $name=\([^@]*\).*/\1/p" Dockerfile)
  # Of the list of all platforms, not of this machine's.
  digest=$(skopeo inspect --no-tags --format '{{.Digest}}' "docker://$image")
  sed -i "s|^ARG $name=.*|ARG $name=$image@$digest|" Dockerfile
  grep "^ARG $name=" Dockerfile
done
