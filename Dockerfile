# The container image: one static program and nothing else.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag REGISTRY/gapless:VERSION --push .
#
# The program carries the list of the crates that it is made of, its software bill
# of materials: syft, trivy, grype and `cargo audit bin` read it from the image.
#
# The same sources give the same image, if the engine does not write the time into it:
#
#   docker buildx build --build-arg SOURCE_DATE_EPOCH=0 --output type=oci,dest=gapless.tar,rewrite-timestamp=true .
#
# tests/lab/build packs the same for one architecture without a container engine.
FROM --platform=$BUILDPLATFORM rust:1.95-bookworm AS build
RUN cargo install --locked cargo-auditable@0.7.5
ARG TARGETARCH
# Rust's name of the architecture; for another one than this machine's also a
# linker, and a C library.
RUN case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-gnu; gcc=gcc-x86-64-linux-gnu ;; \
      arm64) target=aarch64-unknown-linux-gnu; gcc=gcc-aarch64-linux-gnu ;; \
      *) echo "there is no recipe for $TARGETARCH" >&2; exit 1 ;; \
    esac \
 && echo "$target" >/target \
 && if [ "$target" != "$(rustc -vV | sed -n 's/^host: //p')" ]; then \
      rustup target add "$target" \
      && apt-get update \
      && apt-get install --yes --no-install-recommends "$gcc" "libc6-dev-$TARGETARCH-cross"; \
    fi
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
COPY .ci/static-binary .ci/static-binary
RUN mv "$(.ci/static-binary --auditable "$(cat /target)" target)" /gapless

FROM scratch
COPY --from=build /gapless /gapless
# As the chart's securityContext has it.
USER 65532:65532
ENTRYPOINT ["/gapless"]
