# bench with its packages; data and results are folders of the host (docs/containers.md).
#   docker build -t ssdg-bench .
#   docker build -t ssdg-bench:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm

# Where torch comes from: the CPU build, or one of the CUDA builds. constraints.txt has its version.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /opt/source/
RUN python3 -m venv /opt/bench \
 && /opt/bench/bin/pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" -c /opt/source/constraints.txt torch

# No .git comes along, so the build is told the version, which stored runs record. Empty: pyproject's fallback.
ARG VERSION=
COPY pyproject.toml README.md LICENSE /opt/source/
COPY benchmark /opt/source/benchmark
COPY methods /opt/source/methods
COPY datasets /opt/source/datasets
RUN if [ -n "${VERSION}" ]; then export SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SSDG_BENCH="${VERSION}"; fi \
 && /opt/bench/bin/pip install --no-cache-dir -c /opt/source/constraints.txt /opt/source \
 && rm -rf /opt/source

# Any user may run it (docker run --user): nothing is written inside but in /tmp.
RUN useradd --create-home --uid 1000 bench
# MONAI asks for the user's name, which an id without an entry in /etc/passwd has not.
ENV PATH=/opt/bench/bin:${PATH} BENCH_DATA=/data MPLCONFIGDIR=/tmp/matplotlib USER=bench
USER bench
WORKDIR /work
ENTRYPOINT ["bench"]
CMD ["--help"]
