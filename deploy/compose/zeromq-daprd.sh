#!/bin/sh
exec /app/serve component --pass-on /tmp/dapr-components-sockets/zeromq.sock /usr/local/bin/daprd "$@"
