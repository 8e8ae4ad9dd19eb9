#!/usr/bin/env bash
# The edge: CPU per request and p99 beside nginx and HAProxy, plain, TLS and HTTP/2, and under two floods.
# targets: edge_bench
#
# Each proxy has one worker, alone on core 1; wrk and the backend share core 0. What is compared is
# the proxy's CPU time per request: on a shared machine it swings far less than requests per second.
# Taken in turns, the best of EDGE_BENCH_ROUNDS (5), each of EDGE_BENCH_SECONDS (3).
set -euo pipefail

rounds=${EDGE_BENCH_ROUNDS:-5}
seconds=${EDGE_BENCH_SECONDS:-3}
routes=${EDGE_BENCH_ROUTES:-10000}
bench=$BENCH_BUILD/bin/edge_bench
work=$(mktemp -d)
started=()

clean() {
  ((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT

die() {
  echo "edge: $*" >&2
  exit 1
}

# A program of Debian's, installed or unpacked beside the build with the libraries that it lacks:
# installing would start its service.
peers=$BENCH_BUILD/bench-peers
export LD_LIBRARY_PATH=$peers/usr/lib/$(uname -m)-linux-gnu
program() {
  local path=$1 package=$2 name found deb
  name=$(basename "$path")
  found=$(command -v "$name" || echo "$path")
  [[ -x $found ]] && { echo "$found"; return; }
  if [[ ! -x $peers$path ]]; then
    mkdir -p "$peers/archives/partial"
    apt-get install --yes --download-only --no-install-recommends -o Debug::NoLocking=1 \
      -o Dir::Cache::archives="$peers/archives" "$package" >"$peers/$name.log" 2>&1 ||
      die "$name is neither installed nor can be downloaded ($peers/$name.log): apt-get install $package"
    for deb in "$peers"/archives/*.deb; do dpkg -x "$deb" "$peers"; done
  fi
  ! ldd "$peers$path" | grep 'not found' >&2 ||
    die "$name lacks the libraries above: apt-get install $package"
  echo "$peers$path"
}

cpus=$(nproc)
((cpus >= 2)) || die "one core for the proxy and one for its clients are needed"
nginx=$(program /usr/sbin/nginx nginx)
haproxy=$(program /usr/sbin/haproxy haproxy)
h2load=$(program /usr/bin/h2load nghttp2-client)
command -v wrk >/dev/null || die "apt-get install wrk"

# ---- the peers ----

openssl ecparam -genkey -name prime256v1 -noout -out "$work/k.pem"
openssl req -x509 -new -key "$work/k.pem" -days 30 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -out "$work/c.pem" 2>/dev/null
cat "$work/c.pem" "$work/k.pem" >"$work/ck.pem"

nginx_head() {
  cat <<CONF
worker_processes 1; pid $work/$1.pid; error_log $work/$1.err; daemon on; user $(id -un);
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3;
  uwsgi_temp_path $work/t4; scgi_temp_path $work/t5; server_tokens off;
CONF
}
{
  nginx_head backend
  echo "server { listen 127.0.0.1:9300 backlog=1024; default_type text/plain;
    location / { return 200 \"$(printf 'X%.0s' {1..1024})\"; } } }"
} >"$work/backend.conf"
{
  nginx_head ngx
  cat <<CONF
  upstream be { server 127.0.0.1:9300; keepalive 256; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:9180 backlog=1024; listen 127.0.0.1:9143 ssl http2 backlog=1024;
    server_name localhost;
    ssl_certificate $work/c.pem; ssl_certificate_key $work/k.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / { proxy_pass http://be; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host \$host; proxy_set_header X-Forwarded-For \$remote_addr;
      proxy_set_header X-Forwarded-Proto \$scheme; } } }
CONF
} >"$work/ngx.conf"
cat >"$work/hap.cfg" <<CONF
global
  nbthread 1
  maxconn 4096
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
frontend f
  bind 127.0.0.1:9280
  bind 127.0.0.1:9243 ssl crt $work/ck.pem alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http unless { ssl_fc }
  default_backend b
backend b
  server s 127.0.0.1:9300 pool-max-conn -1
CONF

# The worker process of the nginx with that pid file.
nginx_worker() {
  local master
  for _ in {1..50}; do
    master=$(cat "$work/$1.pid" 2>/dev/null) && pgrep -P "$master" | head -1 && return
    sleep 0.1
  done
  die "nginx did not start: $(cat "$work/$1.err")"
}

for one in backend ngx; do
  "$nginx" -p "$work/" -c "$work/$one.conf" 2>"$work/$one.out" ||
    die "nginx did not start: $(cat "$work/$one.out")"
  for _ in {1..50}; do [[ -s $work/$one.pid ]] && break; sleep 0.1; done
  started+=("$(cat "$work/$one.pid")")
done
"$haproxy" -f "$work/hap.cfg" >"$work/hap.out" 2>&1 &
started+=($!)
declare -A worker=([nginx]=$(nginx_worker ngx) [haproxy]=$!)
"$bench" serve "$work/ca" 9300 "$routes" >"$work/edge.ports" 2>"$work/edge.out" &
started+=($!)
worker[atlasflow]=$!
for _ in {1..600}; do [[ -s $work/edge.ports ]] && break; sleep 0.1; done
read -r edge_http edge_https <"$work/edge.ports" || die "the edge: $(cat "$work/edge.out")"
declare -A plain=([nginx]=9180 [haproxy]=9280 [atlasflow]=$edge_http)
declare -A tls=([nginx]=9143 [haproxy]=9243 [atlasflow]=$edge_https)

taskset -apc 0 "$(nginx_worker backend)" >/dev/null
for name in "${!worker[@]}"; do taskset -apc 1 "${worker[$name]}" >/dev/null; done

# ---- measuring ----

# Nanoseconds on a CPU, all threads of the process. (%d of some awks ends at 31 bits.)
cpu_of() {
  cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# Prints microseconds of CPU per request, p99 in milliseconds and requests per second of one run.
run() {
  local name=$1 url=$2 before after
  before=$(cpu_of "${worker[$name]}")
  taskset -c 0 wrk -t1 -c64 -d"${seconds}s" --latency "$url" >"$work/wrk.out"
  after=$(cpu_of "${worker[$name]}")
  awk -v ns=$((after - before)) '
    $1 == "99%" { p99 = $2 ~ /us$/ ? $2 / 1000 : $2 ~ /ms$/ ? $2 + 0 : $2 * 1000 }
    $2 == "requests" { requests = $1 }
    $1 == "Requests/sec:" { rate = $2 }
    /Non-2xx/ { bad = 1 }
    END { if (bad || !requests) exit 1; printf "%.2f %.2f %d\n", ns / 1000 / requests, p99, rate }
  ' "$work/wrk.out" || die "$name at $url: $(cat "$work/wrk.out")"
}

# The same over HTTP/2, 16 streams on each of 16 connections. h2load tells no percentiles: p99 is 0.
run_h2() {
  local name=$1 url=$2 before after
  before=$(cpu_of "${worker[$name]}")
  taskset -c 0 "$h2load" -t1 -c16 -m16 -D"$seconds" "$url" >"$work/h2load.out" 2>&1
  after=$(cpu_of "${worker[$name]}")
  awk -v ns=$((after - before)) '
    $1 == "finished" { rate = $4 }
    $1 == "requests:" { done = $8; failed = $12 + $14 + $16 }
    $1 == "status" && $3 != done { bad = 1 }
    END { if (bad || failed || !done) exit 1; printf "%.2f 0 %d\n", ns / 1000 / done, rate }
  ' "$work/h2load.out" || die "$name at $url: $(cat "$work/h2load.out")"
}

names=(nginx haproxy atlasflow)
for name in "${names[@]}"; do  # connections, pools and caches are warm before it counts
  taskset -c 0 wrk -t1 -c64 -d1s "http://localhost:${plain[$name]}/" >/dev/null
  taskset -c 0 wrk -t1 -c64 -d1s "https://localhost:${tls[$name]}/" >/dev/null
done
for ((round = 1; round <= rounds; round++)); do
  for name in "${names[@]}"; do
    echo "plain $name $(run "$name" "http://localhost:${plain[$name]}/")"
    echo "tls $name $(run "$name" "https://localhost:${tls[$name]}/")"
    echo "h2 $name $(run_h2 "$name" "https://localhost:${tls[$name]}/")"
  done
done >"$work/runs"

awk -v rounds="$rounds" '
  { key = $1 " " $2
    if (!(key in cpu) || $3 < cpu[key]) cpu[key] = $3
    if (!(key in p99) || $4 < p99[key]) p99[key] = $4
    if ($5 > rate[key]) rate[key] = $5 }
  function min(a, b) { return a < b ? a : b }
  END {
    printf "best of %d                  nginx  haproxy  atlasflow   ratio\n", rounds
    for (i = 1; i <= 3; i++) {
      kind = i == 1 ? "plain" : i == 2 ? "tls" : "h2"
      n = kind " nginx"; h = kind " haproxy"; a = kind " atlasflow"
      ratio = cpu[a] / min(cpu[n], cpu[h]); tail = i < 3 ? p99[a] / min(p99[n], p99[h]) : 0
      printf "%-5s us of CPU/request   %6.2f   %6.2f   %8.2f   %5.3f\n", kind, cpu[n], cpu[h], cpu[a], ratio
      if (i < 3) printf "%-5s p99 ms              %6.2f   %6.2f   %8.2f   %5.3f\n", kind, p99[n], p99[h], p99[a], tail
      printf "%-5s requests/s          %6d   %6d   %8d\n", kind, rate[n], rate[h], rate[a]
      printf "BAR %s_cpu_to_better %.3f <= %s\n", kind, ratio, kind == "tls" ? 1.0 : 0.95
      if (i < 3) printf "BAR %s_p99_to_better %.3f <= 1.0\n", kind, tail
    }
  }' "$work/runs"

# ---- under a flood of hellos from two clients ----

flood_seconds=6
for address in 127.0.0.2 127.0.0.3; do
  taskset -c 0 "$bench" flood "$edge_https" $((flood_seconds + 2)) "$address" >"$work/$address" &
done
sleep 1
read -r p50 p99 most failures < <(taskset -c 0 "$bench" probe "$edge_http" "$flood_seconds" 127.0.0.1)
wait %+ 2>/dev/null || true
printf 'established requests under a ClientHello flood of two clients: p50 %s ms, p99 %s ms, most %s ms, failed %s\n' \
  "$p50" "$p99" "$most" "$failures"
echo "BAR hello_flood_p99_ms $p99 <= 50"
echo "BAR hello_flood_failed $failures <= 0"

# ---- under more idle connections than it has descriptors ----

(ulimit -n 1024 && exec "$bench" serve "$work/ca-small" 9300 100) >"$work/small.ports" 2>"$work/small.out" &
started+=($!)
taskset -apc 1 $! >/dev/null
for _ in {1..100}; do [[ -s $work/small.ports ]] && break; sleep 0.1; done
read -r small_http _ <"$work/small.ports" || die "the small edge: $(cat "$work/small.out")"
taskset -c 0 "$bench" idle "$small_http" $((flood_seconds + 3)) 127.0.0.2 1100 &
idler=$!
sleep 2
read -r p50 p99 most failures < <(taskset -c 0 "$bench" probe "$small_http" "$flood_seconds" 127.0.0.1 new)
wait "$idler" || true
printf 'new connections beside 1100 idle ones at 1024 descriptors: p50 %s ms, p99 %s ms, most %s ms, failed %s\n' \
  "$p50" "$p99" "$most" "$failures"
echo "BAR idle_1100_p99_ms $p99 <= 50"
echo "BAR idle_1100_failed $failures <= 0"
