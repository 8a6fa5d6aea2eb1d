# The container image of the service: one static binary on a base without a shell.
#
#     docker build -t paymentsvc .
#     docker run --rm paymentsvc --help
#
# Both bases are pinned by tag, so that a build gets their security fixes. A release also pins them by
# digest, which is then part of its review:
#
#     docker build --build-arg GO_IMAGE=golang:1.26@sha256:… --build-arg BASE_IMAGE=gcr.io/…:nonroot@sha256:… .
#
# The build does not need BuildKit.
ARG GO_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${GO_IMAGE} AS build
WORKDIR /src

# For a build behind a module mirror. By default Go uses its own.
ARG GOPROXY

# The modules have their own layer. A change of the code does not invalidate it.
COPY go.mod go.sum ./
RUN go mod download

# .dockerignore admits only the files that the binary needs.
COPY . .
ARG REVISION=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.commit=${REVISION}" -o /out/paymentsvc ./cmd/paymentsvc && mkdir /out/data

FROM ${BASE_IMAGE}
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.title="paymentsvc" \
      org.opencontainers.image.description="A payment service that charges exactly once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/paymentsvc /usr/local/bin/paymentsvc

# For the books of simulate-processor. A new volume here belongs to the user below.
COPY --from=build --chown=65532:65532 /out/data /data

# The user "nonroot" of the base, as a number: an orchestrator cannot look up a name.
USER 65532:65532

# The default, loopback, cannot be reached from outside the container. The admin listener stays there.
ENV LISTEN_ADDR=:8080
EXPOSE 8080

# A healthy container is ready: the database takes writes, keeps them, and has every constraint.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/paymentsvc", "healthcheck"]

ENTRYPOINT ["/usr/local/bin/paymentsvc"]
CMD ["serve"]
