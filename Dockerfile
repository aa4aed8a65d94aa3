# One image for every role; docker-compose.yml says which command each service runs.
FROM python:3.11-slim

# pip takes the newest CUDA build of the pinned torch, unless this names an index of CPU builds.
ARG PIP_EXTRA_INDEX_URL=""

RUN useradd --create-home --uid 10001 dropout \
    && install --directory --mode 0700 --owner dropout --group dropout /data
WORKDIR /srv/dropout-service

# The packages first: they change less often than the code.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir app worker store dropout_core \
    && touch app/__init__.py worker/__init__.py store/__init__.py dropout_core/__init__.py \
    && pip install --no-cache-dir --constraint constraints.txt --editable '.[service,excel]' \
    && pip check
COPY dropout_core ./dropout_core
COPY store ./store
COPY worker ./worker
COPY app ./app

USER dropout
VOLUME /data
EXPOSE 8000
ENV DROPOUT_DATA_DIR=/data PYTHONUNBUFFERED=1
# Open to whoever reaches the published port, so it does not start before there is a key: see the README.
CMD ["dropout-service", "serve", "--host", "0.0.0.0"]
