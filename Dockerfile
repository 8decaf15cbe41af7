# mesr on the command line, and with its web page and DICOM node where their extras are named.
#
#   docker build -t mesr .
#   make web && docker build -t mesr:web --build-arg EXTRAS=itk,web .    (make web brings the page's viewer into src)
#   docker build -t mesr:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#   docker run --rm --network none -v "$PWD:/data" mesr upscale /data/study -o /data/finer --spacing 0.5
#
# The CUDA build needs NVIDIA's container runtime (--gpus all) and no CUDA in the image: PyTorch brings its own.
FROM python:3.11-slim-trixie AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=itk
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE constraints.txt ./
COPY src src
RUN python -m venv /opt/mesr \
 && /opt/mesr/bin/pip install --no-cache-dir -c constraints.txt torch --extra-index-url "$TORCH_INDEX" \
 && /opt/mesr/bin/pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]"

FROM python:3.11-slim-trixie
# The compiler makes the fast convolution for the processor that is there when it first runs; any version will do.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 mesr
COPY --from=build /opt/mesr /opt/mesr
ENV PATH=/opt/mesr/bin:$PATH
USER 1000
WORKDIR /data
ENTRYPOINT ["mesr"]
CMD ["--help"]
