# The image: Node and the program in one file, compiled ahead for this very Node; no packages, no shell, no npm, no root.
FROM docker.io/library/node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN node scripts/build.ts

FROM gcr.io/distroless/nodejs24-debian12:nonroot
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/dist/bin ./dist/bin
COPY --from=build /app/dist/page ./dist/page
ENV NODE_ENV=production
USER 65532:65532
EXPOSE 8377
# Asks the health address; needs no shell.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/nodejs/bin/node", "/app/dist/bin/procore-proxy.cjs", "wait", "--timeout", "4s"]
ENTRYPOINT ["/nodejs/bin/node", "/app/dist/bin/procore-proxy.cjs"]
CMD ["start"]
