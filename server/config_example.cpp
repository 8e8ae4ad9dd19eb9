#include "server/config.hpp"

namespace atlasflow::server {

std::string example_config() {
  return 1 + R"(
# atlasflow.toml: the server's configuration. Every key is optional; these are the defaults.

# All that the server keeps. --state-dir and ATLASFLOW_STATE_DIR win over it.
state_dir = "/var/lib/atlasflow"
# Projects answer at https://<project>.<domain>, a deployment also at
# https://<deployment>-<project>.<domain>.
domain = "atlasflow.localhost"

[edge]
# Where visitors come in. 0.0.0.0:80 and 0.0.0.0:443 make it a public server.
http = "127.0.0.1:8080"
https = "127.0.0.1:8443"
# Plain HTTP answers with a redirect to https.
redirect_http = true
# For how many seconds browsers are told to ask the domain's hosts over https only, unless an app
# says it itself; 0: not at all. They do not forget it before: begin with 300, and go up to a year.
hsts_max_age_s = 0
# A line for each request, in a file for each project, which atlasflow logs NAME --http shows; kept
# of each, in MiB. Addresses of visitors are in it, and paths without their queries.
access_log = true
access_log_mib = 16
# Connections of visitors and to the apps together; 0: as many as the limit on open files allows.
# Near it those that idle longest are closed.
connections_max = 0
# Memory in MiB for connections and what is under way on them; 0: a quarter of the machine's. Near
# it those that idle longest are closed, and when none idles new requests get a 503.
memory_mib = 0
# Of one IPv4 address or IPv6 /64, and never more than half of all.
connections_per_address = 1024
# Unanswered requests and websockets at one instance, and never more than a quarter of all
# connections. Beyond it visitors get a 503 that says when to come back.
requests_per_instance = 2048
# New TLS handshakes of one address per second, with bursts of four seconds' worth; more wait until
# those of others are done. 0: no limit.
handshakes_per_address = 50
# Of a request's or an answer's head: the URL, all of it, and how many fields.
url_bytes_max = 16384
head_bytes_max = 32768
fields_max = 200
# How long what comes in may take, in seconds: a TLS handshake, a request's head, and the next piece
# of its body, which must also arrive with so many bytes per second (0: no such limit).
tls_handshake_timeout_s = 10
request_head_timeout_s = 10
request_body_timeout_s = 30
request_body_rate_min = 256
# How long a visitor's connection is kept for its next request.
keep_alive_timeout_s = 60
# How long an app may take until its answer begins, be silent within one (event streams are), and
# leave a websocket silent.
response_timeout_s = 60
response_idle_timeout_s = 3600
websocket_idle_timeout_s = 3600
# How long a visitor may take for the next piece of an answer.
client_write_timeout_s = 60
# A visitor that has ended its sending side may still listen, or have left: how long it is served
# without a byte for it.
half_closed_timeout_s = 10

[api]
# The webhook's listener behind the edge; loopback only.
webhook_listen = "127.0.0.1:7070"
# The secret of webhooks for projects that bring none of their own. Mode 0600.
# webhook_secret_file = "/etc/atlasflow/webhook-secret"

[registry]
# A registry elsewhere, HOST:PORT. Without it the server runs its own on loopback.
# address = "registry.example.com:5000"
# The registry elsewhere speaks plain HTTP.
# plain_http = false
# The port of the server's own registry; 0: a free one.
port = 0

[builder]
# Builds at the same time.
count = 1
# Build even where only chroot works: build steps then see the machine's processes and network.
allow_chroot_isolation = false
# Build steps may reach the internet.
network = true
# They never reach this machine, nor private networks but these; nor do pulls of base images. For a
# mirror or a registry of one's own.
reachable_networks = []
# Memory of one build, in MiB.
memory_limit_mib = 2048
# What one build may write to the disk, in MiB: its layers, and by what its cache mounts grow.
# 0: no limit.
disk_limit_mib = 10240
# Free space of the state folder's disk below which nothing is fetched or built, in MiB. What serves
# goes on.
min_free_mib = 1024
# Certificate authorities for the build steps of apps without a Dockerfile, in PEM, where a proxy
# signs with one of its own.
# ca_certificate = "/etc/ssl/certs/proxy-ca.pem"
# What static sites without a Dockerfile run; the one beside the executable unless set.
# static_server = "/usr/lib/atlasflow/atlasflow-static-server"
# What apps without a Dockerfile start from, by language, instead of the builder's own choice.
# bases = { python = "docker.io/library/python:3.12-slim" }

[vm]
# Kernel and modules of the microVMs, as script/bootstrap lays them out.
kernel_dir = "/usr/lib/atlasflow/kernel"
# The guest's PID 1; the one beside the executable unless set.
# guest_init = "/usr/lib/atlasflow/atlasflow-guest-init"
# auto, kvm or tcg. auto tries KVM and falls back to emulation (tcg).
accelerator = "auto"
# Memory of all VMs together, in MiB; 0: three quarters of the machine's.
memory_mib = 0

[domains]
# Domains of users' own, beside those below `domain`, with certificates of an authority that speaks
# ACME (RFC 8555): docs/domains.md. Without a directory there are none.
# acme_directory = "https://acme-v02.api.letsencrypt.org/directory"
# That you agree to its terms of service; nothing is ordered without that.
# acme_terms_agreed = true
# An e-mail address that it may write to.
# acme_contact = "ops@example.com"
# Of an account that the authority gave, where it wants one (external account binding): its key id,
# and the file with its MAC key, in base64url. Mode 0600.
# acme_external_key_id = "kid-1"
# acme_external_mac_key_file = "/etc/atlasflow/acme-mac-key"
# Who signs the directory's own https, in PEM, where that is none of the usual authorities.
# acme_ca_certificate = "/etc/ssl/certs/own-ca.pem"
# How names are proved to it: auto is by port 80 (HTTP-01), and by port 443 where it could not
# connect to the former or offers nothing else; or http-01 or tls-alpn-01 alone.
acme_challenge = "auto"
# Which of the authority's profiles its certificates are of, as "shortlived"; its usual one unless
# set. And which of several chains it is to be, by the name of who issued its last certificate.
# acme_profile = "shortlived"
# acme_preferred_chain = "ISRG Root X1"
# A second authority, asked for a name in place of the first while that keeps failing in ways that
# are its own: it is not reached, or its limit lasts. The same settings, of its own account.
# acme_fallback_directory = "https://acme.zerossl.com/v2/DV90"
# acme_fallback_terms_agreed = true
# acme_fallback_contact = "ops@example.com"
# acme_fallback_external_key_id = "kid-2"
# acme_fallback_external_mac_key_file = "/etc/atlasflow/acme-fallback-mac-key"
# acme_fallback_ca_certificate = "/etc/ssl/certs/own-ca.pem"
# acme_fallback_profile = "classic"
# What the A and AAAA records of such domains must say: where the edge is reached from outside.
public_addresses = []
# Name servers that are asked, at most four, recursive ones, at best of two operators; the system's
# unless set.
resolvers = []
# A certificate of that authority for `domain` itself and every name below it: how is proved to it
# by DNS whose they are, by one of both. docs/domains.md tells of them.
# Either by a program of yours, which sets and removes a TXT record:
# dns01_hook = "/usr/local/bin/set-txt-record"
# or by updates (RFC 2136) at the zone's primary name server, with the file of its TSIG key. Mode
# 0600.
# dns01_server = "192.0.2.53"
# dns01_tsig_key_file = "/etc/atlasflow/tsig.key"
# Certificates of one domain in seven days, as authorities have limits (at most 16); 0: no limit.
certificates_per_week = 4
# New certificates, which renew none, of all names of one registered domain, as example.com and all
# below it, in seven days: authorities count these together. 0: no limit.
new_certificates_per_week = 45

[keep]
# Versions of each project that can be rolled back to without a build, beside the live one: their
# images and disks stay. Everything else that no deployment needs is removed.
rollbacks = 5
# Of each microVM's log, in MiB: its head goes when it is longer.
run_log_mib = 64
# Of all build and run logs, in MiB: beyond that those of old deployments go, oldest first.
logs_mib = 2048
# Of the builder's layers and the base images that it pulled, in MiB: beyond that go base images
# that nothing is built upon, those used longest ago first, and then its cache, oldest first.
build_cache_mib = 10240
# Of what was fetched of all projects' repositories, in MiB, so that the next clone of each fetches
# only what is new: beyond that those used longest ago go. 0: each clone fetches everything.
clones_mib = 5120
# Of the state folder's disk, in MiB: held back by a file beside the event log, which is given back
# when the disk is full, so that the log can go on; 0: none.
reserve_mib = 64

[log]
# debug, info, warn or error.
level = "info"
)";
}

}  // namespace atlasflow::server
