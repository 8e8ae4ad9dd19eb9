#!/usr/bin/env python3
"""What the edge's clients get beside two apps with vcpus=16 that spin.

Over one server, in one run: with quiet microVMs, beside the spinning ones as they are, and beside
them once all QEMU processes are moved out of their cgroups, to where the server itself is, the last
two in turns. Server and clients are in a cgroup of their own, as those of a service are (outside of
one, the kernel's autogroups would keep the microVMs apart), with a weight beside which other work
on the machine hardly counts. Requested are a page of the edge's own (a
hostname that it does not know) and the page of a small app with one vcpu, which has a microVM like
the others: one request at a time for how long each takes, then eight at a time for how many come
through. At the end all that was started has ended.
"""

import json
import os
import pathlib
import shutil
import ssl
import http.client
import socket
import subprocess
import sys
import tempfile
import threading
import time

SECONDS_A_ROUND = 8
ROUNDS = 3
CLIENTS = 8
PAUSE_S = 0.005
SPINNERS = 2
VCPUS = 16
DOMAIN = "atlasflow.localhost"
DOCKERFILE = """FROM scratch
COPY busybox /bin/busybox
COPY index.html /www/index.html
CMD ["/bin/busybox", "sh", "/start"]
COPY start /start
"""
SERVE = "exec /bin/busybox httpd -f -p $PORT -h /www\n"
SPIN = "i=0; while [ $i -lt {} ]; do i=$((i+1)); (while :; do :; done) & done\n".format(VCPUS)


class Group:
    """A cgroup of the processor's hierarchy that holds this process and what it starts."""

    def __init__(self):
        unified = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()
        self.root = pathlib.Path("/sys/fs/cgroup") / ("" if unified else "cpu")
        self.folder = self.root / f"neighbours-bench-{os.getpid()}"
        self.folder.mkdir()
        if unified:
            (self.root / "cgroup.subtree_control").write_text("+cpu +memory +pids")
            os.setxattr(self.folder, "user.delegate", b"1")  # as systemd marks a service's
        weight, value = ("cpu.weight", "10000") if unified else ("cpu.shares", "102400")
        (self.folder / weight).write_text(value)
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def end(self):
        (self.root / "cgroup.procs").write_text(str(os.getpid()))
        for folder in [*self.folder.glob("*/"), self.folder]:
            try:
                folder.rmdir()
            except OSError as error:
                print(f"neighbours: {folder} stays: {error}", file=sys.stderr)


class Bench:
    def __init__(self, atlasflow):
        self.group = Group()
        self.atlasflow = atlasflow
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="atlasflow-neighbours-"))
        self.state = self.work / "state"
        self.server = None
        os.environ["ATLASFLOW_STATE_DIR"] = str(self.state)

    def run(self, *words, **given):
        return subprocess.run(
            words, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **given
        ).stdout

    def verb(self, *words):
        try:
            return self.run(self.atlasflow, *words)
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"neighbours: atlasflow {' '.join(words)}: {error.output}") from error

    def start(self):
        config = self.work / "atlasflow.toml"
        config.write_text(
            f'domain = "{DOMAIN}"\n[edge]\nhttp = "127.0.0.1:0"\nhttps = "127.0.0.1:0"\n'
            '[api]\nwebhook_listen = "127.0.0.1:0"\n'
        )
        with open(self.work / "server.log", "wb") as log:
            self.server = subprocess.Popen(
                [self.atlasflow, "server", "--config", config, "--state-dir", self.state],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 120
        while True:
            try:
                status = json.loads(self.run(self.atlasflow, "status", "--json"))
                break
            except subprocess.CalledProcessError:
                if self.server.poll() is not None or time.monotonic() > end:
                    raise SystemExit((self.work / "server.log").read_text()) from None
                time.sleep(0.2)
        self.port = status["https_port"]
        self.context = ssl.create_default_context(cafile=status["ca_certificate"])

    def deploy(self, name, script, *settings):
        folder = self.work / name
        folder.mkdir()
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "index.html").write_text(f"<h1>{name}</h1>\n")
        (folder / "start").write_text(script)
        shutil.copy("/bin/busybox", folder / "busybox")
        for words in (
            ["init", "-q", "--initial-branch=main"],
            ["add", "-A"],
            ["-c", "user.name=b", "-c", "user.email=b@example.com", "-c", "commit.gpgsign=false",
             "commit", "-q", "-m", "bench"],
        ):
            self.run("git", "-C", str(folder), *words)
        secret = self.work / "secret"
        secret.write_text("only for this run")
        secret.chmod(0o600)
        self.verb("project", "create", name, "--repo", f"file://{folder}", "--branch", "main",
                  "--webhook-secret-file", str(secret))
        if settings:
            self.verb("project", "set", name, *settings)
        self.verb("deploy", name, "--wait")

    def request(self, connection, host, status):
        begin = time.monotonic()
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        response.read()
        took = time.monotonic() - begin
        if response.status != status:
            raise SystemExit(f"neighbours: {host} answered {response.status}, not {status}")
        return took * 1000

    def connect(self, host):
        connection = http.client.HTTPConnection(host, self.port)
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = self.context.wrap_socket(raw, server_hostname=host)
        return connection

    def count(self):
        """Pages of the app a second, for as many clients as it can serve."""
        counts = [0] * CLIENTS
        end = time.monotonic() + SECONDS_A_ROUND

        def visit(number):
            connection = self.connect(f"web.{DOMAIN}")
            while time.monotonic() < end:
                self.request(connection, f"web.{DOMAIN}", 200)
                counts[number] += 1

        visitors = [threading.Thread(target=visit, args=(i,)) for i in range(CLIENTS)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
        if 0 in counts:
            raise SystemExit("neighbours: a client got no page of the app")
        return sum(counts) / SECONDS_A_ROUND

    def measure(self):
        """edge and app: p50 and p95 in ms of their pages; pages: of the app a second."""
        app = self.connect(f"web.{DOMAIN}")
        edge = self.connect(f"web.{DOMAIN}")
        times = {"edge": [], "app": []}
        end = time.monotonic() + SECONDS_A_ROUND
        while time.monotonic() < end:
            times["edge"].append(self.request(edge, f"nobody.{DOMAIN}", self.unknown_status))
            times["app"].append(self.request(app, f"web.{DOMAIN}", 200))
            time.sleep(PAUSE_S)
        found = {}
        for name, list_of in times.items():
            list_of.sort()
            found[name] = (list_of[len(list_of) // 2], list_of[len(list_of) * 95 // 100])
        found["pages"] = self.count()
        return found

    def learn_unknown_status(self):
        connection = self.connect(f"web.{DOMAIN}")
        connection.request("GET", "/", headers={"Host": f"nobody.{DOMAIN}"})
        self.unknown_status = connection.getresponse().status
        if self.unknown_status < 400:
            raise SystemExit("neighbours: an unknown hostname has a page")

    def move_vms(self, confined):
        """All QEMU processes of this state folder into their cgroups, or to where the server is."""
        moved = 0
        for record in (self.state / "vm" / "running").iterdir():
            known = json.loads(record.read_text())
            for folder in map(pathlib.Path, known["cgroup"]):
                if folder.is_dir():
                    place = folder if confined else folder.parent
                    (place / "cgroup.procs").write_text(str(known["pid"]))
                    moved += 1
        if moved == 0:
            raise SystemExit("neighbours: no microVM has a cgroup on this machine")

    def end(self):
        if self.server is not None and self.server.poll() is None:
            self.server.terminate()
            self.server.wait(120)
        subprocess.run([self.atlasflow, "halt", "--state-dir", self.state], check=False,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(self.work, ignore_errors=True)
        self.group.end()


def middle(rounds, pick):
    values = sorted(pick(found) for found in rounds)
    return values[len(values) // 2]


def main():
    bench = Bench(sys.argv[1])
    rounds = {"quiet": [], "spinning": [], "spinning, no cgroups": []}
    try:
        bench.start()
        bench.deploy("web", SERVE)
        bench.learn_unknown_status()
        rounds["quiet"] = [bench.measure() for _ in range(ROUNDS)]
        for number in range(1, SPINNERS + 1):
            bench.deploy(f"spin-{number}", SPIN + SERVE, f"vcpus={VCPUS}", "health_deadline=10m")
        for _ in range(ROUNDS):
            bench.move_vms(True)
            rounds["spinning"].append(bench.measure())
            bench.move_vms(False)
            rounds["spinning, no cgroups"].append(bench.measure())
        bench.move_vms(True)
    finally:
        bench.end()
    columns = {
        "edge p50 ms": lambda found: found["edge"][0],
        "edge p95 ms": lambda found: found["edge"][1],
        "app p50 ms": lambda found: found["app"][0],
        "app p95 ms": lambda found: found["app"][1],
        "app pages/s": lambda found: found["pages"],
    }
    print(f"{'microVMs':<22}" + "".join(f"{name:>13}" for name in columns))
    for name, found in rounds.items():
        print(f"{name:<22}" + "".join(f"{middle(found, pick):>13.1f}" for pick in columns.values()))

    def ratio(column, over, under):
        return middle(rounds[over], columns[column]) / middle(rounds[under], columns[column])

    app = ratio("app p95 ms", "spinning", "quiet")
    print(f"BAR app_p95_beside_spinners {app:.2f} <= 4")
    edge = ratio("edge p95 ms", "spinning", "spinning, no cgroups")
    print(f"BAR edge_p95_by_cgroups {edge:.2f} <= 0.5")
    pages = ratio("app pages/s", "spinning", "spinning, no cgroups")
    print(f"BAR app_pages_by_cgroups {pages:.2f} >= 4")


if __name__ == "__main__":
    main()
