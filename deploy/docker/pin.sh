#!/usr/bin/env bash
# Pins the base images of the Dockerfile to the digests of their tags today; run it again to update them. Needs skopeo.
set -euo pipefail
cd "$(dirname "$0")/../.."

for name in NODE_IMAGE RUNTIME_IMAGE; do
  image=$(sed -n "s/^ARG $name=\([^@]*\).*/\1/p" Dockerfile)
  # The digest of the list of all platforms, not of one platform.
  digest=$(skopeo inspect --no-tags --format '{{.Digest}}' "docker://$image")
  sed -i "s|^ARG $name=.*|ARG $name=$image@$digest|" Dockerfile
  grep "^ARG $name=" Dockerfile
done
