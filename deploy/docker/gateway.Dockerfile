# The gateway: Envoy with its configuration, the contract and its pages. See README.md.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/contract.txt,target=contract.txt \
    python -m venv /opt/contract \
    && /opt/contract/bin/pip install --quiet --require-hashes --requirement contract.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/gateway.txt,target=gateway.txt \
    --mount=type=bind,source=deploy/docker/packages.sh,target=packages.sh \
    ./packages.sh gateway.txt
COPY buf.yaml pyproject.toml ./
COPY protos protos
COPY gateway gateway
COPY services/__init__.py services/registry.py services/version.py services/
RUN protos/build.sh /opt/contract/bin/python
RUN --mount=type=bind,source=deploy/docker/compile.sh,target=compile.sh \
    mkdir -p /app/build \
    && cp -r gateway services pyproject.toml /app/ \
    && cp -r build/sori.binpb build/pages /app/build/ \
    && ./compile.sh

FROM ${PYTHON_IMAGE}
RUN --mount=type=bind,source=deploy/docker/runtime.sh,target=/runtime.sh /runtime.sh
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8000 \
    GATEWAY_OPS_PORT=9902
EXPOSE 8000 9902
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; \
ask = http.client.HTTPConnection('127.0.0.1', int(os.environ['GATEWAY_OPS_PORT']), timeout=3); \
ask.request('GET', '/readyz'); sys.exit(ask.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "gateway"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sori/gateway" \
      org.opencontainers.image.description="Sori's gateway: Envoy in front of the gRPC services." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
