# refrain serve, without the model: mount models/onnx at /srv/models/onnx (compose.yaml does), or add a line
# `COPY models/onnx /srv/models/onnx`. A test runs these steps where no Docker does.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md constraints.txt ./
COPY refrain refrain
RUN python -m venv /opt/refrain
RUN /opt/refrain/bin/python -m pip install --no-cache-dir --quiet --constraint constraints.txt .
# What no request needs: a client of the Hub that tokenizers asks for, tests, headers, tools that make models.
RUN /opt/refrain/bin/python -m pip uninstall --yes --quiet huggingface_hub hf_xet fsspec filelock requests urllib3 charset-normalizer certifi
RUN cd /opt/refrain/lib/python3*/site-packages && rm -rf pip pip-*.dist-info setuptools setuptools-*.dist-info numpy/f2py numpy/_core/include onnxruntime/tools onnxruntime/transformers onnxruntime/quantization && find numpy -type d -name tests -prune -exec rm -rf {} +

FROM python:3.11-slim
COPY --from=build /opt/refrain /opt/refrain
WORKDIR /srv
ENV REFRAIN_SERVE_HOST=0.0.0.0 REFRAIN_SERVE_PORT=8000 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["/opt/refrain/bin/python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"REFRAIN_SERVE_PORT\"]}/healthz', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/refrain/bin/refrain", "serve"]
