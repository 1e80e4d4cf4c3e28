#!/usr/bin/env bash
# Builds the Dockerfile without a container engine and without an image registry: with buildah, on replacements for the two base
# images, made of Debian's packages and the Node in tools/node. Usage: deploy/docker/build.sh IMAGE
set -euo pipefail
cd "$(dirname "$0")/../.."

image=${1:?usage: deploy/docker/build.sh IMAGE}
cache=${PROCORE_PROXY_IMAGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/procore-proxy-images}
export BUILDAH_ISOLATION=chroot

say() { printf '%s\n' "$*" >&2; }

if [[ $EUID -ne 0 ]]; then
  say 'deploy/docker/build.sh: run it as root, because it makes a root file system'
  exit 1
fi

install_tools() {
  local tool missing=()
  for tool in buildah podman runc catatonit docker-compose mmdebstrap; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  [[ ${#missing[@]} -eq 0 ]] && return
  say "Installing ${missing[*]}…"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Base images and layers are kept apart from those of other engines on this machine.
use_own_storage() {
  mkdir -p "$cache"
  cat >"$cache/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$cache/storage"
runroot = "/run/procore-proxy-images"
CONF
  export CONTAINERS_STORAGE_CONF=$cache/storage.conf
}

base_of() { sed -n "s/^ARG $1=\([^@]*\).*/\1/p" Dockerfile; }

node_home() {
  local home
  home=tools/node/node_modules/node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
  [[ -x $home/bin/node ]] || npm ci --prefix tools/node --no-audit --no-fund >&2
  printf '%s' "$home"
}

has_base() {
  [[ $(buildah inspect --type image --format '{{index .OCIv1.Config.Labels "procore-proxy.stand-in"}}' "$1" 2>/dev/null) == "$2" ]]
}

from_scratch() { # NAME KEY FOLDER ENVIRONMENT USER
  printf 'FROM scratch\nCOPY . /\nLABEL procore-proxy.stand-in=%s\nENV %s\nUSER %s\n' "$2" "$4" "$5" |
    buildah build --quiet --pull-never --format docker --file - --tag "$1" "$3" >/dev/null
}

make_bases() {
  local node npm certificates key work build runtime
  node=$(node_home)
  npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
  build=$(base_of NODE_IMAGE)
  runtime=$(base_of RUNTIME_IMAGE)
  certificates=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}
  key=$(cat "$0" "$node/package.json" "$npm/package.json" "$certificates" | sha256sum | cut -c 1-16)
  if has_base "$build" "$key" && has_base "$runtime" "$key"; then return; fi
  say "Making replacements for $build and $runtime…"
  work=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" RETURN
  mmdebstrap --quiet --mode=root --variant=essential --include=ca-certificates,libstdc++6,tzdata bookworm "$work/debian"
  distroless "$work/debian" "$work/runtime" "$node"
  mkdir -p "$work/debian/usr/local/bin" "$work/debian/usr/local/lib/node_modules"
  cp "$node/bin/node" "$work/debian/usr/local/bin/node"
  cp -r "$npm" "$work/debian/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/debian/usr/local/bin/npm"
  rm -rf "$work/debian/dev"
  # npm in the build uses the same registry and certificates as npm on this machine.
  cp "$certificates" "$work/debian/etc/ssl/certs/ca-certificates.crt"
  mkdir -p "$work/debian/usr/local/etc"
  printf 'registry=%s\n' "$(npm config get registry 2>/dev/null)" >"$work/debian/usr/local/etc/npmrc"
  from_scratch "$build" "$key" "$work/debian" NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt 0
  from_scratch "$runtime" "$key" "$work/runtime" SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt 65532
}

# The content of Google's distroless image: libraries, certificates, time zones and Node.
distroless() { # DEBIAN TARGET NODE
  local debian=$1 target=$2 file
  mkdir -p "$target"/{etc,nodejs/bin,home/nonroot} "$target"/usr/{lib,share}
  ln -s usr/lib "$target/lib"
  ln -s usr/lib64 "$target/lib64"
  install -d -m 1777 "$target/tmp"
  while read -r file; do
    (cd "$debian" && cp --parents --dereference "./$file" "$target")
  done < <(cd "$debian" && find -L usr/lib usr/lib64 \( -name 'ld-linux-*.so.*' -o -name 'lib[cm].so.6' -o -name 'libdl.so.2' \
    -o -name 'libpthread.so.0' -o -name 'librt.so.1' -o -name 'libresolv.so.2' -o -name 'libnss_*.so.2' \
    -o -name 'libstdc++.so.6' -o -name 'libgcc_s.so.1' \) -type f)
  (cd "$debian" && cp -a --parents etc/ssl/certs/ca-certificates.crt etc/nsswitch.conf etc/os-release usr/lib/os-release \
    usr/share/zoneinfo "$target")
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$target/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$target/etc/group"
  chown 65532:65532 "$target/home/nonroot"
  cp "$3/bin/node" "$target/nodejs/bin/node"
}

build() {
  local name arguments=()
  for name in NODE_IMAGE RUNTIME_IMAGE; do
    # A replacement has another digest than the image that it replaces.
    if grep -q "^ARG $name=.*@" Dockerfile; then arguments+=(--build-arg "$name=$(base_of "$name")"); fi
  done
  buildah build --layers --pull-never --format docker --tag "$image" "${arguments[@]}" \
    --build-arg "VERSION=$(node -p 'require("./package.json").version')" \
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" . >&2
}

install_tools
use_own_storage
# Removes layers of builds before yesterday.
podman image prune --force --filter until=24h >/dev/null
make_bases
build
printf '%s\n' "$cache/storage.conf"
