# The service as a container image: one static binary on a base that holds nothing else, not even a shell.
#
#     docker build -t paymentsvc .
#     docker run --rm paymentsvc --help
#
# Both bases are pinned by tag here, so that a build gets their security fixes. A release pins them by digest as well, which
# is then part of what is reviewed:
#
#     docker build --build-arg GO_IMAGE=golang:1.26@sha256:… --build-arg BASE_IMAGE=gcr.io/…:nonroot@sha256:… .
#
# Nothing here needs BuildKit.
ARG GO_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${GO_IMAGE} AS build
WORKDIR /src

# For a build behind a module mirror. Left out, Go uses its default.
ARG GOPROXY

# The modules are a layer of their own: it stays until go.mod or go.sum changes, whatever happens to the code.
COPY go.mod go.sum ./
RUN go mod download

# .dockerignore says what gets here: what the binary is made of, and no test.
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/paymentsvc ./cmd/paymentsvc

FROM ${BASE_IMAGE}
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.title="paymentsvc" \
      org.opencontainers.image.description="A payment service that charges exactly once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/paymentsvc /usr/local/bin/paymentsvc

# "nonroot" of the base, as numbers: an orchestrator that insists on an unprivileged user cannot look a name up.
USER 65532:65532

# Loopback, the default, cannot be reached from outside the container. The admin listener stays on it.
ENV LISTEN_ADDR=:8080
EXPOSE 8080

# Ready means: the database is there, takes writes and keeps them, and has every constraint that the promise rests on.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/paymentsvc", "healthcheck"]

ENTRYPOINT ["/usr/local/bin/paymentsvc"]
CMD ["serve"]
