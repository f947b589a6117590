# The images of StreamPipeline; docs/images.md says what each needs at run time.
#
#   python3 hack/images.py build        all of them, and first what Maven, Go and Rust have to build
#   docker build --target dask .        one by hand (BuildKit); flink, kafka and influxdb find their parts in
#                                       build/image-context/, where hack/images.py puts them
#
# The secrets are optional: the settings of a network that has mirrors or re-signs TLS (docs/images.md).
# Bash reads the file that BASH_ENV names before each command, and does without where there is none.

ARG BASE=debian:bookworm-slim


# --- stages that the images share ---------------------------------------------------------------------------------

FROM ${BASE} AS base
ARG BASH_ENV=/run/secrets/network
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    --mount=type=secret,id=apt.conf,mode=0444 \
    apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        ca-certificates libgomp1 python3 tini \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/* \
    && groupadd --gid 10001 streampipeline \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin streampipeline
# HOME: what libraries want to remember goes where a pod has an emptyDir.
ENV HOME=/tmp \
    LANG=C.UTF-8 \
    PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
# Forwards signals and reaps what workers leave behind: a process with number 1 that handles no SIGTERM ignores it.
ENTRYPOINT ["/usr/bin/tini", "--"]

# A slim base has no folder for manual pages, and Java's package cannot be set up without.
FROM base AS java
ARG BASH_ENV=/run/secrets/network
RUN --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    --mount=type=secret,id=apt.conf,mode=0444 \
    mkdir -p /usr/share/man/man1 \
    && apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends openjdk-17-jre-headless \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/*

# The installer: used from beside the images, in none of them.
FROM base AS installer
ARG BASH_ENV=/run/secrets/network
RUN --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    --mount=type=secret,id=apt.conf,mode=0444 \
    apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends python3-venv
COPY requirements/bootstrap.txt /opt/streampipeline/requirements/
RUN --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    python3 -m venv /opt/installer \
    && /opt/installer/bin/pip install --quiet --no-cache-dir --require-hashes --only-binary=:all: \
        -r /opt/streampipeline/requirements/bootstrap.txt
COPY hack/image/install-list /opt/installer/bin/

FROM base AS arrow
ARG BASH_ENV=/run/secrets/network
COPY requirements/arrow.txt /opt/streampipeline/requirements/
RUN --mount=type=bind,from=installer,source=/opt/installer,target=/mnt \
    --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    HOME=/root /mnt/bin/install-list arrow

FROM arrow AS numeric
ARG BASH_ENV=/run/secrets/network
COPY requirements/numeric.txt /opt/streampipeline/requirements/
RUN --mount=type=bind,from=installer,source=/opt/installer,target=/mnt \
    --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    HOME=/root /mnt/bin/install-list numeric

FROM arrow AS control
ARG BASH_ENV=/run/secrets/network
COPY requirements/operator.txt /opt/streampipeline/requirements/
RUN --mount=type=bind,from=installer,source=/opt/installer,target=/mnt \
    --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    HOME=/root /mnt/bin/install-list operator


# --- images -------------------------------------------------------------------------------------------------------

# The control plane.
FROM control AS operator
COPY jobs /opt/streampipeline/jobs
COPY operator /opt/streampipeline/operator
RUN python3 -m compileall -q /opt/streampipeline
ENV PYTHONPATH=/opt/streampipeline/jobs:/opt/streampipeline/operator
USER 10001:10001
CMD ["python", "-m", "streampipeline_operator"]

# Dask's own operator, on our operator's layers.
FROM control AS dask-operator
ARG BASH_ENV=/run/secrets/network
COPY requirements/dask-operator.txt /opt/streampipeline/requirements/
RUN --mount=type=bind,from=installer,source=/opt/installer,target=/mnt \
    --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    HOME=/root /mnt/bin/install-list dask-operator
USER 10001:10001
CMD ["kopf", "run", "--module", "dask_kubernetes.operator.controller", "--all-namespaces"]

# The fallback engine: scheduler, workers, driver; and what reads the topic by itself: repair, audit, producer.
FROM numeric AS dask
ARG BASH_ENV=/run/secrets/network
COPY requirements/dask.txt /opt/streampipeline/requirements/
RUN --mount=type=bind,from=installer,source=/opt/installer,target=/mnt \
    --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    HOME=/root /mnt/bin/install-list dask
# The audit makes the predictions of the bundled models again.
COPY model-server/models /opt/streampipeline/model-server/models
COPY jobs /opt/streampipeline/jobs
COPY audit /opt/streampipeline/audit
RUN python3 -m compileall -q /opt/streampipeline
ENV PYTHONPATH=/opt/streampipeline/jobs:/opt/streampipeline/audit
USER 10001:10001
CMD ["dask", "--help"]

FROM numeric AS model-server
ARG BASH_ENV=/run/secrets/network
COPY requirements/model-server.txt /opt/streampipeline/requirements/
RUN --mount=type=bind,from=installer,source=/opt/installer,target=/mnt \
    --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    HOME=/root /mnt/bin/install-list model-server
COPY model-server /opt/streampipeline/model-server
RUN python3 -m compileall -q /opt/streampipeline
ENV BENTOML_DO_NOT_TRACK=True \
    BENTOML_HOME=/tmp/bentoml
WORKDIR /opt/streampipeline/model-server
USER 10001:10001
CMD ["python", "serve.py", "--host", "0.0.0.0", "--port", "3000"]

# The primary engine: JobManager, TaskManager, SQL gateway. Flink comes out of PyFlink's wheel, which gets links in
# its place; its console log is the only log, because files of a container are read by nobody and grow.
FROM java AS flink
ARG BASH_ENV=/run/secrets/network
COPY requirements/build.txt requirements/flink.txt /opt/streampipeline/requirements/
RUN --mount=type=bind,from=installer,source=/opt/installer,target=/mnt \
    --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=network,mode=0444 \
    --mount=type=secret,id=ca-certificates,mode=0444 \
    HOME=/root /mnt/bin/install-list flink \
    && wheel=/opt/venv/lib/python3.11/site-packages/pyflink \
    && mkdir -p /opt/flink/log \
    && cp -r "$wheel/bin" /opt/flink/bin \
    && chmod -R a+rx /opt/flink/bin "$wheel/bin" \
    && for part in conf lib opt plugins; do \
        mv "$wheel/$part" "/opt/flink/$part" && ln -s "/opt/flink/$part" "$wheel/$part"; \
    done \
    && (cd /opt/flink/lib && ln -s ../opt/flink-python-*.jar .) \
    && sed -i '/^appender\.rolling\./d; /^rootLogger\.appenderRef\.rolling\./d' /opt/flink/conf/log4j-console.properties
COPY build/image-context/flink-jars/flink-sql-connector-*.jar build/image-context/flink-decoder/*.jar /opt/flink/lib/
COPY build/image-context/flink-jars/flink-sql-gateway-*.jar /opt/flink/opt/
COPY jobs /opt/streampipeline/jobs
RUN python3 -m compileall -q /opt/streampipeline
ENV FLINK_HOME=/opt/flink \
    FLINK_LOG_DIR=/tmp \
    FLINK_PID_DIR=/tmp \
    PATH=/opt/flink/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/streampipeline/jobs
USER 10001:10001
CMD ["jobmanager.sh", "start-foreground"]

# The results' store, where `influxdb:2.7` cannot be pulled: the same program, variables and folder.
FROM base AS influxdb
COPY build/image-context/influxd /usr/local/bin
RUN install -d -o 10001 -g 10001 /var/lib/influxdb2
ENV INFLUXD_BOLT_PATH=/var/lib/influxdb2/influxd.bolt \
    INFLUXD_ENGINE_PATH=/var/lib/influxdb2/engine \
    INFLUXD_SQLITE_PATH=/var/lib/influxdb2/influxd.sqlite \
    INFLUXD_REPORTING_DISABLED=true
USER 10001:10001
CMD ["influxd", "run"]

# The demo's broker, where `apache/kafka` cannot be pulled; samples/kafka.yaml starts either.
FROM java AS kafka
COPY build/image-context/kafka /opt/kafka
USER 10001:10001
CMD ["java", "-cp", "/opt/kafka/config:/opt/kafka/libs/*", "kafka.Kafka", "/etc/kafka/server.properties"]
