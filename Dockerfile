# The image contains Node and the program: no packages, shell or package manager. It does not run as root and writes nothing.
# deploy/docker/README.md says how to pin the two base images by digest.
ARG NODE_IMAGE=docker.io/library/node:24.21.0-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot

# JavaScript does not depend on the processor, so this stage runs on the builder's own.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
COPY config ./config
RUN node scripts/build.ts --cold

# The entry keeps the compiled form of the program, which fits only the Node version and options that made it: a run of the
# demo in the image itself makes it.
FROM ${RUNTIME_IMAGE} AS warm
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build --chown=65532:65532 /app/dist ./dist
# The same options as below: the compiled form depends on them.
ENV NODE_OPTIONS=--max-semi-space-size=8
USER 65532:65532
RUN ["/nodejs/bin/node", "dist/bin/procore-proxy.cjs", "demo", "--once"]

FROM ${RUNTIME_IMAGE}
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/dist/page ./dist/page
COPY --from=build /app/dist/bin ./dist/bin
COPY completions ./completions
# Owned by root, so that the program cannot write to it.
COPY --from=warm --chown=0:0 --chmod=755 /app/dist/compiled ./dist/compiled
# A small young generation keeps memory low while bodies and lists stream through; V8's default suits machines, not sidecars.
ENV NODE_ENV=production NODE_OPTIONS=--max-semi-space-size=8
USER 65532:65532
# Asks for the health of the proxy at the address in its configuration; needs no shell.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s \
  CMD ["/nodejs/bin/node", "/app/dist/bin/procore-proxy.cjs", "wait", "--timeout", "4s"]
ENTRYPOINT ["/nodejs/bin/node", "/app/dist/bin/procore-proxy.cjs"]
CMD ["start"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="procore-proxy" \
      org.opencontainers.image.description="A local reverse proxy that logs in to Procore for programs that can't" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
