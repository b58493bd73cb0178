#!/bin/sh
# Starts one server in a container: `start.sh redis`, or mqtt, rabbitmq, kafka. The rest of its configuration lies
# beside this script. It fits the official images and such as are made of Debian's packages, any user, and a root
# filesystem that is read-only: data goes to /data, and what holds the password to /tmp.
#
# BROKER_PASSWORD is the password (letters, digits and . _ ~ - only, since it is a part of addresses), BROKER_USER the
# user (dovecote), BROKER_HOST the name by which clients reach Kafka.
set -eu
umask 077
here=$(dirname "$0")
user=${BROKER_USER:-dovecote}
password=${BROKER_PASSWORD:?is the password of the server: set it}
case $user$password in
*[!A-Za-z0-9._~-]*)
  echo "BROKER_USER and BROKER_PASSWORD are parts of addresses: use letters, digits and . _ ~ - only" >&2
  exit 2
  ;;
esac

case ${1-} in
redis)
  { cat "$here/redis.conf"; echo "requirepass $password"; } >/tmp/redis.conf
  exec redis-server /tmp/redis.conf
  ;;
mqtt)
  echo "$user:$password" >/tmp/passwords
  mosquitto_passwd -U /tmp/passwords # hashes it
  exec mosquitto -c "$here/mosquitto.conf"
  ;;
rabbitmq)
  { cat "$here/rabbitmq.conf"; echo "default_user = $user"; echo "default_pass = $password"; } >/tmp/rabbitmq.conf
  echo '[].' >/tmp/enabled_plugins
  mkdir -p /data/rabbitmq
  export HOME=/data/rabbitmq # Erlang's cookie lies there
  export RABBITMQ_NODENAME=dovecote@localhost # the data belongs to the name, and outlives the container
  export RABBITMQ_MNESIA_BASE=/data/rabbitmq/mnesia
  export RABBITMQ_CONFIG_FILE=/tmp/rabbitmq.conf
  export RABBITMQ_CONF_ENV_FILE=/tmp/rabbitmq-env.conf
  export RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/enabled_plugins
  export RABBITMQ_LOGS=- RABBITMQ_LOG_BASE=/data/rabbitmq # where it keeps a log of upgrades in any case
  export ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP_SECONDS=0
  # How often a channel looks at the consumer_timeout has no name in the configuration file.
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} -rabbit channel_tick_interval 5000"
  # Debian's own command of that name runs for some users only.
  PATH=/usr/lib/rabbitmq/bin:$PATH exec rabbitmq-server
  ;;
kafka)
  login="org.apache.kafka.common.security.plain.PlainLoginModule required"
  login="$login username=\"$user\" password=\"$password\" user_$user=\"$password\";"
  {
    cat "$here/kafka.properties"
    echo "advertised.listeners=CLIENT://${BROKER_HOST:?is the name by which clients reach Kafka: set it}:9092"
    echo "listener.name.client.plain.sasl.jaas.config=$login"
    echo "listener.name.controller.plain.sasl.jaas.config=$login"
  } >/tmp/kafka.properties
  set -- -Xmx512m -XX:TieredStopAtLevel=1 -Djava.io.tmpdir=/data -Dlog4j2.level=WARN \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*'
  # The id is one of a cluster of one; what is formatted already stays.
  java "$@" kafka.tools.StorageTool format --ignore-formatted --cluster-id=ZG92ZWNvdGUtMDAwMDAwMA \
    --config=/tmp/kafka.properties
  exec java "$@" kafka.Kafka /tmp/kafka.properties
  ;;
*)
  echo "usage: start.sh redis|mqtt|rabbitmq|kafka" >&2
  exit 2
  ;;
esac
