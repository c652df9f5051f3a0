# The container image: one static program and nothing else.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag REGISTRY/gapless:VERSION --push .
#
# tests/lab/build packs the same without a container engine.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
# A target of its own is named so that build scripts and macros are not linked
# statically, too, which they cannot be.
RUN host=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$host" \
 && mv "target/$host/release/gapless" /gapless

FROM scratch
COPY --from=build /gapless /gapless
# As the chart's securityContext has it.
USER 65532:65532
ENTRYPOINT ["/gapless"]
