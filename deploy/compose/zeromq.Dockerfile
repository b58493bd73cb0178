# A sidecar with the ZeroMQ component as its parent.
ARG DAPRD_IMAGE
ARG ZEROMQ_IMAGE
FROM ${DAPRD_IMAGE} AS daprd
FROM ${ZEROMQ_IMAGE}
COPY --from=daprd /daprd /usr/local/bin/daprd
COPY zeromq-daprd.sh /daprd
