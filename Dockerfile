# The image of Busway: one static binary, nothing else. `make image` writes the same without an engine: hack/image.sh reads
# the last stage of this file, and both build the binary with `hack/image.sh binary`.
#   docker build -t busway .
#   docker buildx build --platform linux/amd64,linux/arm64 -t busway .     (each platform is built on itself, or emulated)

FROM rust:1.95-bookworm AS build
# Set by the builder: amd64, arm64.
ARG TARGETARCH
WORKDIR /src
COPY . .
RUN hack/image.sh binary /out/busway "$TARGETARCH"

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Busway"
LABEL org.opencontainers.image.description="Channels, buses and subscriptions for Kubernetes"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="$VERSION"
LABEL org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/busway /busway
USER 65532:65532
ENTRYPOINT ["/busway"]
