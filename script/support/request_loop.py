#!/usr/bin/env python3
"""Requests one URL until SIGTERM, on a connection per request and on a kept one at the same time,
and counts what fails: no answer, a status other than 200, or a page that is none of those expected.

Prints one line of JSON at the end: requests, failed, reasons, pages (how often each expected text
came). Only loopback addresses are connected to, and the loop is bounded in requests and time.
"""

import argparse
import collections
import http.client
import ipaddress
import json
import signal
import socket
import ssl
import threading
import time
import urllib.parse

TIMEOUT_S = 15


class Loop:
    def __init__(self, given):
        self.url = urllib.parse.urlsplit(given.url)
        host, _, port = given.connect.rpartition(":")
        if not ipaddress.ip_address(host).is_loopback:
            raise SystemExit("request_loop: only loopback addresses are requested")
        self.address = (host, int(port))
        self.expected = given.expect
        self.pause_s = given.pause_ms / 1000
        self.left = given.requests_max
        self.ends_at = time.monotonic() + given.seconds_max
        self.context = ssl.create_default_context(cafile=given.ca)
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.requests = 0
        self.reasons = collections.Counter()
        self.pages = collections.Counter()

    def connect(self):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=TIMEOUT_S)
        raw = socket.create_connection(self.address, timeout=TIMEOUT_S)
        connection.sock = self.context.wrap_socket(raw, server_hostname=self.url.hostname)
        return connection

    def request(self, connection):
        """Why the request failed, or None."""
        connection.request("GET", self.url.path or "/", headers={"Host": self.url.netloc})
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        if response.status != 200:
            return f"status {response.status}"
        for text in self.expected:
            if text in body:
                with self.lock:
                    self.pages[text] += 1
                return None
        return "an unexpected page"

    def take(self):
        with self.lock:
            if self.left == 0 or time.monotonic() > self.ends_at or self.stop.is_set():
                return False
            self.left -= 1
            self.requests += 1
            return True

    def run(self, keep):
        connection = None
        while self.take():
            try:
                # http.client closes its socket when the server announced the connection's end.
                if connection is None or connection.sock is None:
                    connection = self.connect()
                reason = self.request(connection)
            except (OSError, http.client.HTTPException) as error:
                reason = f"{type(error).__name__}: {error}"
            if reason is not None:
                with self.lock:
                    self.reasons[reason] += 1
            if connection is not None and (not keep or reason is not None):
                connection.close()
                connection = None
            self.stop.wait(self.pause_s)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--connect", required=True, help="ADDRESS:PORT, loopback")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--expect", action="append", required=True, help="text of a right page")
    parser.add_argument("--pause-ms", type=int, default=20)
    parser.add_argument("--seconds-max", type=int, default=600)
    parser.add_argument("--requests-max", type=int, default=50000)
    loop = Loop(parser.parse_args())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop.set())
    threads = [threading.Thread(target=loop.run, args=(keep,)) for keep in (False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({
        "requests": loop.requests,
        "failed": sum(loop.reasons.values()),
        "reasons": loop.reasons,
        "pages": loop.pages,
    }))


if __name__ == "__main__":
    main()
