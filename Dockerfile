# docker build -t weir .
# docker run -p 6033:6033 -v ./weir.toml:/etc/weir/weir.toml:ro -e APP_DB_PASSWORD weir

FROM rust:1-slim-bookworm AS build
WORKDIR /weir
COPY . .
# The cache mounts keep the registry and the compiled dependencies between builds, not in the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/weir/target \
    cargo build --release --locked --bin weir && cp target/release/weir /usr/local/bin/weir

FROM debian:bookworm-slim
# Certificates of the public authorities, for `[tls.server] mode = "verify-…"` without a `ca` of one's own.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin weir
COPY --from=build /usr/local/bin/weir /usr/local/bin/weir
USER weir
# Clients; metrics, health and dashboard. The SQL console stays inside.
EXPOSE 6033 6080
ENTRYPOINT ["weir"]
CMD ["run", "--config", "/etc/weir/weir.toml"]
