# The gRPC services, one image: `docker run sori/services services.catalog`. See README.md.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/contract.txt,target=contract.txt \
    python -m venv /opt/contract \
    && /opt/contract/bin/pip install --quiet --require-hashes --requirement contract.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/services.txt,target=services.txt \
    --mount=type=bind,source=deploy/docker/packages.sh,target=packages.sh \
    ./packages.sh services.txt
COPY buf.yaml pyproject.toml ./
COPY protos protos
COPY gateway gateway
COPY services/__init__.py services/version.py services/
RUN protos/build.sh /opt/contract/bin/python
COPY services /app/services
RUN --mount=type=bind,source=deploy/docker/compile.sh,target=compile.sh \
    rm -r /app/services/analyzer \
    && cp -r gen/sori pyproject.toml /app/ \
    && find /app -name '*.pyi' -delete \
    && ./compile.sh

FROM ${PYTHON_IMAGE}
RUN --mount=type=bind,source=deploy/docker/runtime.sh,target=/runtime.sh /runtime.sh
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
# HEALTHCHECK uses a health server on the loopback interface, without TLS.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CATALOG_LISTEN=0.0.0.0:50051 \
    UPLOAD_LISTEN=0.0.0.0:50052 \
    ANALYSIS_LISTEN=0.0.0.0:50053 \
    ACCOUNTS_LISTEN=0.0.0.0:50054 \
    HEALTH_LISTEN=127.0.0.1:50060
EXPOSE 50051 50052 50053 50054
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["sh", "-c", "exec env -u TLS_CERTIFICATE_FILE -u TLS_KEY_FILE -u TLS_CA_FILE \
python -m services.runtime.healthcheck $HEALTH_LISTEN"]
ENTRYPOINT ["python", "-m"]
CMD ["services.catalog"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sori/services" \
      org.opencontainers.image.description="Sori's gRPC services: catalog, upload, analysis and accounts." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
