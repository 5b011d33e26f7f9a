# syntax=docker/dockerfile:1
# One image with all programs: /producer, /worker, /webhook and the tool /sluice.
ARG GO_IMAGE=golang:1.26-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd cmd
COPY internal internal
COPY client client
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/ ./cmd/producer ./cmd/worker ./cmd/webhook ./cmd/sluice

FROM ${RUNTIME_IMAGE}
COPY --from=build /out/ /
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
CMD ["/sluice", "demo"]
