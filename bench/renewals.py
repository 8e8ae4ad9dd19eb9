#!/usr/bin/env python3
"""Certificates that live a minute, renewed again and again while visitors come by TLS.

    renewals.py ATLASFLOW [--minutes N]

A server with three domains, whose certificates Debian's pebble issues for 60 seconds each; half of
the nonces are refused, and no authorization is taken twice. Visitors make one handshake after the
other for each of them, with nothing but pebble's root to trust, and ask for a page. A handshake
that fails, for whatever reason, is counted, and so is each certificate that was seen. The pages are
the edge's own, as nothing is deployed: it is the handshakes that count. Exit code 1 when it could
not be measured; a failed handshake is a bar that fell short.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

LIFE_S = 60
DOMAINS = ["www0.shop.test", "www1.shop.test", "www2.shop.test"]
VISITORS_EACH = 2
TIMEOUT_S = 10
# Of a life of a minute half is left when it is renewed; the order itself takes some seconds.
RENEWALS_A_MINUTE = 1


def fail(why):
    raise SystemExit(f"renewals: {why}")


def free_port():
    """One that nobody has by TCP and UDP at this moment."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return tcp.getsockname()[1]


def eventually(what, seconds, ask):
    end = time.monotonic() + seconds
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > end:
            fail(f"{what} within {seconds} s")
        time.sleep(0.2)


class Visits:
    """What the visitors of all domains saw."""

    def __init__(self):
        self.lock = threading.Lock()
        self.handshakes = 0
        self.failures = collections.Counter()
        self.certificates = {domain: set() for domain in DOMAINS}
        self.times = []

    def saw(self, domain, certificate, took):
        with self.lock:
            self.handshakes += 1
            self.certificates[domain].add(hashlib.sha256(certificate).hexdigest())
            self.times.append(took)

    def failed(self, why):
        with self.lock:
            self.failures[why] += 1


class Bench:
    def __init__(self, atlasflow):
        self.atlasflow = atlasflow
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="atlasflow-renewals-"))
        self.state = self.work / "state"
        self.children = []
        self.server = None

    def child(self, name, *words, **given):
        if shutil.which(words[0]) is None:
            fail(f"there is no {words[0]}; script/bootstrap installs it")
        with open(self.work / f"{name}.log", "wb") as log:
            started = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **given
            )
        self.children.append(started)
        return started

    def verb(self, *words):
        ran = subprocess.run(
            [self.atlasflow, *words, "--state-dir", str(self.state)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
        )
        return ran.stdout if ran.returncode == 0 else fail(f"{' '.join(words)}: {ran.stderr}")

    def start_authority(self):
        self.http_port = free_port()
        acme, management, dns, dns_management = (free_port() for _ in range(4))
        bundle, key = self.work / "pebble.pem", self.work / "pebble.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-out", bundle, "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, stderr=subprocess.DEVNULL,
        )
        (self.work / "pebble.json").write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{acme}",
            "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": str(bundle),
            "privateKey": str(key),
            "httpPort": self.http_port,
            "tlsPort": 1,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": LIFE_S,
        }}))
        self.name_server = f"127.0.0.1:{dns}"
        self.child(
            "name-server", "pebble-challtestsrv", "-dns01", self.name_server,
            "-management", f"127.0.0.1:{dns_management}", "-http01", "", "-https01", "",
            "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
        )
        self.child(
            "pebble", "pebble", "-config", str(self.work / "pebble.json"),
            "-dnsserver", self.name_server, "-strict=true",
            env={"PATH": os.environ["PATH"], "PEBBLE_VA_NOSLEEP": "1",
                 "PEBBLE_WFE_NONCEREJECT": "50", "PEBBLE_AUTHZREUSE": "0"},
        )
        self.bundle = bundle
        self.directory = f"https://localhost:{acme}/dir"
        trusted = ssl.create_default_context(cafile=bundle)

        def root():
            try:
                url = f"https://localhost:{management}/roots/0"
                with urllib.request.urlopen(url, context=trusted, timeout=5) as answer:
                    return answer.read().decode()
            except OSError:
                return None

        self.context = ssl.create_default_context(
            cadata=eventually("pebble does not answer", 20, root)
        )

    def start_server(self):
        config = self.work / "atlasflow.toml"
        config.write_text(
            f'[edge]\nhttp = "127.0.0.1:{self.http_port}"\nhttps = "127.0.0.1:0"\n'
            f'[api]\nwebhook_listen = "127.0.0.1:0"\n'
            f'[registry]\naddress = "127.0.0.1:{free_port()}"\n'
            f'[domains]\nacme_directory = "{self.directory}"\n'
            f'acme_ca_certificate = "{self.bundle}"\nacme_terms_agreed = true\n'
            f'public_addresses = ["127.0.0.1"]\nresolvers = ["{self.name_server}"]\n'
            "certificates_per_week = 0\n"
        )
        self.server = self.child(
            "server", self.atlasflow, "server", "--config", str(config),
            "--state-dir", str(self.state), start_new_session=True,
        )

        def status():
            if self.server.poll() is not None:
                fail((self.work / "server.log").read_text())
            ran = subprocess.run(
                [self.atlasflow, "status", "--json", "--state-dir", str(self.state)],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
            )
            return json.loads(ran.stdout) if ran.returncode == 0 else None

        self.port = eventually("the server does not answer", 120, status)["https_port"]
        self.verb("project", "create", "web", "--git-push")
        for domain in DOMAINS:
            self.verb("domains", "add", "web", domain)
        for domain in DOMAINS:
            eventually(
                f"{domain} has no certificate", 60,
                lambda name=domain: json.loads(self.verb("domains", "cert", name, "--json"))[
                    "status"] == "active",
            )

    def visit(self, domain, visits):
        begin = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as raw:
                with self.context.wrap_socket(raw, server_hostname=domain) as connection:
                    took = time.monotonic() - begin
                    certificate = connection.getpeercert(binary_form=True)
                    request = f"GET / HTTP/1.1\r\nHost: {domain}\r\nConnection: close\r\n\r\n"
                    connection.sendall(request.encode())
                    if not connection.recv(16).startswith(b"HTTP/1.1 "):
                        return visits.failed("no answer behind the handshake")
        except OSError as error:
            return visits.failed(f"{domain}: {error}")
        visits.saw(domain, certificate, took)

    def measure(self, minutes):
        visits = Visits()
        end = time.monotonic() + minutes * 60

        def keep_visiting(domain):
            while time.monotonic() < end:
                self.visit(domain, visits)

        visitors = [
            threading.Thread(target=keep_visiting, args=(domain,))
            for domain in DOMAINS for _ in range(VISITORS_EACH)
        ]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
        return visits

    def end(self):
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            try:
                self.server.wait(60)
            except subprocess.TimeoutExpired:
                self.server.kill()
        if self.server is not None:
            subprocess.run(
                [self.atlasflow, "halt", "--state-dir", str(self.state)],
                stdout=subprocess.DEVNULL, check=False,
            )
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        shutil.rmtree(self.work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(prog="renewals")
    parser.add_argument("atlasflow", help="the executable")
    parser.add_argument("--minutes", type=float, default=10, help="of load (default: 10)")
    arguments = parser.parse_args()
    if arguments.minutes < 1:
        parser.error("--minutes must be 1 or more: a certificate lives one")
    bench = Bench(arguments.atlasflow)
    try:
        bench.start_authority()
        bench.start_server()
        visits = bench.measure(arguments.minutes)
    finally:
        bench.end()
    if visits.handshakes == 0:
        fail("no handshake came through: " + ", ".join(visits.failures))
    failed = sum(visits.failures.values())
    times = sorted(visits.times)
    print(f"{arguments.minutes:g} minutes, {len(DOMAINS)} domains, certificates of {LIFE_S} s")
    print(f"handshakes   {visits.handshakes}")
    print(f"failed       {failed}")
    for why, count in visits.failures.most_common(5):
        print(f"  {count} times {why}")
    for domain, seen in visits.certificates.items():
        print(f"certificates of {domain}   {len(seen)}")
    middle, late = times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000
    print(f"p50 {middle:.1f} ms, p99 {late:.1f} ms from connecting to the end of the handshake")
    fewest = min(len(seen) for seen in visits.certificates.values()) - 1
    print(f"BAR failed_handshakes {failed} <= 0")
    print(f"BAR renewals_per_minute {fewest / arguments.minutes:.2f} >= {RENEWALS_A_MINUTE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
