# The command line and the workbench on a CPU, without PyTorch:  docker build -t blastscope .
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" blastscope predict cell.bmp
# The workbench for a laboratory; other computers reach it only by HTTPS (docs/workbench.md):
#   docker run --user "$(id -u)" -p 8400:8400 -v "$PWD/workbench:/data" -v "$PWD/tls:/tls:ro" \
#     blastscope serve --folder /data --host 0.0.0.0 --name lab.example \
#     --tls-cert /tls/lab.pem --tls-key /tls/lab.key
# To train as well:  docker build --build-arg EXTRAS='[serve,train]' -t blastscope .
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
ARG EXTRAS="[serve]"
COPY --from=wheel /dist /dist
COPY constraints.txt /dist/
RUN pip install --no-cache-dir -c /dist/constraints.txt "$(echo /dist/*.whl)$EXTRAS" \
    && rm -rf /dist \
    && useradd --create-home blastscope
USER blastscope
# Any user of the host may run it (--user), whose home is then not there.
ENV HOME=/tmp
WORKDIR /data
EXPOSE 8400
ENTRYPOINT ["blastscope"]
