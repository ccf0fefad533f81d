# One image for every command: `docker run IMAGE run detect`, `… topics create`, `… doctor`.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
RUN python -m venv /opt/duri
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
WORKDIR /src
# The dependencies in a layer of their own: they change seldom, the code often.
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > requirements.txt \
    && /opt/duri/bin/pip install -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY config ./config
COPY models ./models
COPY pipeline ./pipeline
# numba's cache trusts a source file by its time of change, and image layers keep whole seconds only.
RUN /opt/duri/bin/pip install --no-deps . \
    && /opt/duri/bin/pip uninstall --yes pip setuptools \
    && find /opt/duri/lib -name '*.py' -exec touch --date='2020-01-01 00:00:00' {} + \
    && python -m compileall -q -x '/tests?/' /opt/duri/lib


FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="duri-pipeline" \
      org.opencontainers.image.description="Streaming anomaly detection over Kafka that ends in tuning recommendations" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --create-home --shell /usr/sbin/nologin duri \
    && install --directory --owner=duri --mode=0755 /var/cache/duri
COPY --from=build /opt/duri /opt/duri
ENV PATH=/opt/duri/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/cache/duri \
    DURI_RUNTIME__HTTP_HOST=0.0.0.0 \
    DURI_RUNTIME__LOG_FORMAT=json
USER duri
WORKDIR /home/duri
# Compiles the kernels for the CPU that builds; another kind of CPU compiles its own before its first start is ready,
# hence the folder.
RUN python -m pipeline.runtime.kernels </dev/null
EXPOSE 9464
# Alive, not ready: a worker that restores a large state is well. /readyz is for those who roll out.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as http; http.urlopen(f\"http://127.0.0.1:{os.environ.get('DURI_RUNTIME__HTTP_PORT', '9464')}/healthz\", timeout=4)"]
ENTRYPOINT ["duri"]
CMD ["run"]
