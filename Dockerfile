# syntax=docker/dockerfile:1
# One image with all programs: /producer, /worker, /webhook and the tool /sluice. They are one executable, which looks at
# its name. `docker build .` needs no arguments; `make image` says what they are for a release.
ARG GO_IMAGE=golang:1.26-bookworm

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY LICENSE NOTICE /out/
COPY go.mod go.sum ./
COPY client client
COPY cmd cmd
COPY internal internal
ARG VERSION=v0.0.0
ARG COMMIT=unknown
ARG DATE=unknown
# The paths in the executable are those of this stage, the same on every machine: it needs no -trimpath, with which CI
# would compile all anew.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -buildvcs=false -o /out/sluice \
    -ldflags "-s -w -X sluice/internal/version.number=${VERSION} -X sluice/internal/version.commit=${COMMIT} -X sluice/internal/version.date=${DATE}" ./cmd/sluice \
    && for program in producer worker webhook; do ln -s sluice /out/$program; done \
    && CGO_ENABLED=0 go run -buildvcs=false ./internal/sbom /out/sluice ${VERSION} > /out/sbom.cdx.json \
    && mkdir -p /out/etc/ssl/certs && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

FROM scratch
ARG VERSION=v0.0.0
ARG COMMIT=unknown
ARG DATE=unknown
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="Sends WhatsApp messages through Meta's Cloud API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${DATE}"
COPY --from=build /out/ /
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
CMD ["/sluice", "demo"]
