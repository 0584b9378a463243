# The locked environment: docker build -t cae . && docker run -v "$PWD/results:/project/results" cae make results/table6.csv
FROM debian:trixie-slim
RUN apt-get update && apt-get install --yes --no-install-recommends \
      ca-certificates g++ git libc6-dev make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /project
COPY Makefile pyproject.toml uv.lock ./
RUN make env
COPY . .
CMD ["make", "results/table6.csv"]
