# The command line on a CPU, without PyTorch:  docker build -t blastscope .
#   docker run --rm -v "$PWD:/data" blastscope predict /data/cell.bmp
# To train as well:  docker build --build-arg EXTRAS='[train]' -t blastscope .
# To run the tests and the demo in a container:  docker build --target test .

FROM python:3.11-slim AS source
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .

FROM source AS test
RUN make test
RUN make demo

FROM source AS wheel
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:3.11-slim
ARG EXTRAS=""
COPY --from=wheel /dist /dist
COPY constraints.txt /dist/
RUN pip install --no-cache-dir -c /dist/constraints.txt "$(echo /dist/*.whl)$EXTRAS" \
    && rm -rf /dist \
    && useradd --create-home blastscope
USER blastscope
WORKDIR /data
ENTRYPOINT ["blastscope"]
