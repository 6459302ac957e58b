# The screen, the wheel, and a last stage that holds neither Node nor a compiler nor a package tool.

FROM node:24-slim AS screen
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build && test -f /src/app/static/index.html

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
RUN python3 -m venv --without-pip /opt/andon \
 && /opt/build/bin/pip --python /opt/andon/bin/python install --no-cache-dir --no-compile \
    --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY deploy/wheel.py deploy/
COPY app/ app/
COPY collectors/ collectors/
COPY rules/ rules/
COPY migrations/ migrations/
COPY --from=screen /src/app/static app/static
RUN /opt/build/bin/hatchling build -t wheel \
 && /opt/build/bin/pip --python /opt/andon/bin/python install --no-cache-dir --no-deps --no-index dist/*.whl \
 && /opt/andon/bin/python -m compileall -q /opt/andon/lib

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/andon --shell /usr/sbin/nologin andon \
 && install -d -o andon -g andon -m 0750 /var/lib/andon /etc/andon
COPY --from=build /opt/andon /opt/andon
# Numba keeps what it compiled for this processor beside the data: the rest may be read-only.
ENV PATH=/opt/andon/bin:$PATH \
    ANDON_HOST=0.0.0.0 \
    ANDON_PORT=8000 \
    ANDON_DATA_DIR=/var/lib/andon \
    NUMBA_CACHE_DIR=/var/lib/andon/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER andon
WORKDIR /var/lib/andon
VOLUME /var/lib/andon
EXPOSE 8000
STOPSIGNAL SIGTERM
# Alive, not ready: with the database away Andon still takes readings, checks and alarms.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"ANDON_PORT\"]}/health/live', timeout=4)"]
CMD ["andon", "serve"]
