# Builds the broker and everything that the suites need. Build from the repository's root.
FROM debian:bookworm-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      g++ cmake ninja-build ccache mold pkg-config libasio-dev nlohmann-json3-dev catch2 libspdlog-dev libfmt-dev \
      zlib1g-dev libsnappy-dev liblz4-dev libzstd-dev libssl-dev libre2-dev libxxhash-dev libcli11-dev python3 python3-venv kcat librdkafka-dev \
      maven default-jdk-headless golang-go nodejs npm ca-certificates && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN tools/dev build release
