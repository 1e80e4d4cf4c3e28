# The image: Node and the program in a few files; no packages, no shell, no package manager, no root, nothing to write to.
# How to pin the two base images by digest: deploy/docker/README.md.
ARG NODE_IMAGE=docker.io/library/node:24.21.0-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot

# JavaScript is the same on every processor: this stage runs on the builder's.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN node scripts/build.ts --no-code

# V8's compiled form fits the Node that made it and no other: it is made by the one that will run it.
FROM ${RUNTIME_IMAGE} AS code
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/scripts/bundle/warm.cjs ./scripts/bundle/
COPY --from=build /app/dist/page ./dist/page
COPY --from=build /app/dist/bin ./dist/bin
USER 0
RUN ["/nodejs/bin/node", "scripts/bundle/warm.cjs"]

FROM ${RUNTIME_IMAGE}
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/dist/page ./dist/page
COPY --from=code /app/dist/bin ./dist/bin
ENV NODE_ENV=production
USER 65532:65532
EXPOSE 8377
# Asks the health address of the address that the configuration names; needs no shell.
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
