# The gateway in a container. Builds from this tree; needs a package registry while it builds and nothing at run time.
#   docker build -t troad:0.1.0 .
ARG NODE=docker.io/library/node:24.21.0-bookworm-slim

FROM ${NODE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
# The image brings its Node; --ignore-scripts, because no package here needs any.
RUN npm install --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY gateway gateway
COPY pki pki
RUN npm run build && npm prune --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM ${NODE}
LABEL org.opencontainers.image.title="troad" \
      org.opencontainers.image.description="Zero-trust data-exchange gateway for T-Road" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
# The runtime's own code in pages of 2 MiB: a twentieth of the CPU (conformance/bench/README.md).
ENV NODE_OPTIONS=--use-largepages=silent
WORKDIR /opt/troad
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY policies policies
COPY LICENSE ./
# Configuration and keys are mounted read-only at /etc/troad. The log, the registry's cache and the spool lie under
# log.dir and beside it: the one place that must be writable.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/troad
VOLUME /var/lib/troad
USER 10001:10001
EXPOSE 5500 8443
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/opt/troad/dist/gateway/cli.js"]
CMD ["run", "--config", "/etc/troad/gateway.yaml"]
