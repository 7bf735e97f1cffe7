# The reference analysis server. See README.md.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements/analyzer.txt,target=analyzer.txt \
    --mount=type=bind,source=deploy/docker/packages.sh,target=packages.sh \
    ./packages.sh analyzer.txt
# The image contains no code under the GPL.
RUN --mount=type=bind,source=deploy/docker/without_gpl.py,target=without_gpl.py \
    python without_gpl.py /opt/venv/lib/python3.11/site-packages/av.libs
COPY pyproject.toml /app/
COPY services/__init__.py services/version.py /app/services/
COPY services/analyzer /app/services/analyzer
COPY services/runtime/__init__.py services/runtime/audio_formats.py services/runtime/logs.py \
     services/runtime/metrics.py services/runtime/processes.py \
     /app/services/runtime/
RUN --mount=type=bind,source=deploy/docker/compile.sh,target=compile.sh ./compile.sh

FROM ${PYTHON_IMAGE}
RUN --mount=type=bind,source=deploy/docker/runtime.sh,target=/runtime.sh /runtime.sh
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ANALYZER_HOST=0.0.0.0 \
    ANALYZER_PORT=8100
EXPOSE 8100
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; \
ask = http.client.HTTPConnection('127.0.0.1', int(os.environ['ANALYZER_PORT']), timeout=3); \
ask.request('GET', '/healthz'); sys.exit(ask.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "services.analyzer"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sori/analyzer" \
      org.opencontainers.image.description="The reference analysis server of Sori." \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-3.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
