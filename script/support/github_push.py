#!/usr/bin/env python3
"""Sends the push webhook that GitHub would send for the head of a local repository's branch.

The secret is read from a file, so that it never stands in an argument list. Prints the server's
answer; exit 0 when it is a 2xx.
"""

import argparse
import hashlib
import hmac
import http.client
import json
import pathlib
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import uuid

ZEROS = "0" * 40
TIMEOUT_S = 15  # GitHub itself gives up after 10 s


def git(folder, *arguments):
    command = ["git", "-C", folder, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit_of(folder, sha, html_url):
    fields = ["%H", "%T", "%B", "%aI", "%an", "%ae", "%cn", "%ce"]
    text = git(folder, "show", "-s", "--format=" + "%x00".join(fields), sha)
    commit, tree, message, when, author, author_mail, committer, committer_mail = text.split("\0")
    changed = {"A": [], "D": [], "M": []}
    tree_changes = git(folder, "diff-tree", "--root", "--no-commit-id", "-r", "--name-status", sha)
    for line in tree_changes.splitlines():
        status, name = line.split("\t", 1)
        changed.get(status[0], changed["M"]).append(name)
    return {
        "id": commit,
        "tree_id": tree,
        "distinct": True,
        "message": message.strip(),
        "timestamp": when,
        "url": f"{html_url}/commit/{commit}",
        "author": {"name": author, "email": author_mail, "username": "octocat"},
        "committer": {"name": committer, "email": committer_mail, "username": "octocat"},
        "added": changed["A"],
        "removed": changed["D"],
        "modified": changed["M"],
    }


def payload_of(folder, branch, before, clone_url, full_name):
    """The JSON of GitHub's push event, with the fields and their order as GitHub documents them."""
    after = git(folder, "rev-parse", f"refs/heads/{branch}")
    span = after if before == ZEROS else f"{before}..{after}"
    html_url = f"https://github.com/{full_name}"
    api_url = f"https://api.github.com/repos/{full_name}"
    owner_name, name = full_name.split("/")
    pushed = git(folder, "rev-list", "--reverse", span).split()
    commits = [commit_of(folder, sha, html_url) for sha in pushed]
    owner = {
        "name": owner_name,
        "email": f"{owner_name}@example.com",
        "login": owner_name,
        "id": 583231,
        "node_id": "MDQ6VXNlcjU4MzIzMQ==",
        "avatar_url": "https://avatars.githubusercontent.com/u/583231?v=4",
        "gravatar_id": "",
        "url": f"https://api.github.com/users/{owner_name}",
        "html_url": f"https://github.com/{owner_name}",
        "type": "User",
        "site_admin": False,
    }
    repository = {
        "id": 186853002,
        "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
        "name": name,
        "full_name": full_name,
        "private": False,
        "owner": owner,
        "html_url": html_url,
        "description": "A sample for Atlasflow",
        "fork": False,
        "url": html_url,
        "hooks_url": f"{api_url}/hooks",
        "events_url": f"{api_url}/events",
        "branches_url": f"{api_url}/branches{{/branch}}",
        "commits_url": f"{api_url}/commits{{/sha}}",
        "statuses_url": f"{api_url}/statuses/{{sha}}",
        "contents_url": f"{api_url}/contents/{{+path}}",
        "created_at": int(time.time()) - 86400,
        "updated_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "pushed_at": int(time.time()),
        "git_url": f"git://github.com/{full_name}.git",
        "ssh_url": f"git@github.com:{full_name}.git",
        "clone_url": clone_url,
        "svn_url": html_url,
        "homepage": None,
        "size": 12,
        "stargazers_count": 0,
        "watchers_count": 0,
        "language": None,
        "has_issues": True,
        "archived": False,
        "disabled": False,
        "topics": [],
        "visibility": "public",
        "forks": 0,
        "open_issues": 0,
        "watchers": 0,
        "default_branch": branch,
        "stargazers": 0,
        "master_branch": branch,
    }
    return {
        "ref": f"refs/heads/{branch}",
        "before": before,
        "after": after,
        "repository": repository,
        "pusher": {"name": owner_name, "email": f"{owner_name}@example.com"},
        "sender": {k: v for k, v in owner.items() if k not in ("name", "email")},
        "created": before == ZEROS,
        "deleted": False,
        "forced": False,
        "base_ref": None,
        "compare": f"{html_url}/compare/{before[:12]}...{after[:12]}",
        "commits": commits,
        "head_commit": commits[-1] if commits else commit_of(folder, after, html_url),
    }


def connect(url, address, ca_file):
    """A connection for the URL, to the address in place of what its hostname resolves to."""
    port = url.port or (443 if url.scheme == "https" else 80)
    host, _, other_port = (address or f"{url.hostname}:{port}").rpartition(":")
    raw = socket.create_connection((host, int(other_port)), timeout=TIMEOUT_S)
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file)
        raw = context.wrap_socket(raw, server_hostname=url.hostname)
    connection = http.client.HTTPConnection(url.hostname, port, timeout=TIMEOUT_S)
    connection.sock = raw
    return connection


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the webhook's URL")
    parser.add_argument("--connect", help="ADDRESS:PORT in place of the URL's")
    parser.add_argument("--ca", help="the certificate authority of the URL's host")
    parser.add_argument("--secret-file", required=True)
    parser.add_argument("--folder", required=True, help="a local clone with the commits of the push")
    parser.add_argument("--branch", default="main")
    parser.add_argument("--before", default=ZEROS, help="the branch's head before the push")
    parser.add_argument("--clone-url", required=True, help="how the project names the repository")
    parser.add_argument("--full-name", default="octocat/hello")
    parser.add_argument("--delivery", default=str(uuid.uuid1()), help="the delivery's GUID")
    given = parser.parse_args()

    # As GitHub and the server do: a line break at the end is not part of the secret.
    secret = pathlib.Path(given.secret_file).read_bytes().rstrip(b"\r\n")
    payload = payload_of(
        given.folder, given.branch, given.before, given.clone_url, given.full_name)
    body = json.dumps(payload, separators=(",", ":")).encode()
    url = urllib.parse.urlsplit(given.url)
    default_port = {"https": 443, "http": 80}[url.scheme]
    headers = {
        "Host": url.hostname if (url.port or default_port) == default_port else url.netloc,
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/ede37db",
        "X-GitHub-Delivery": given.delivery,
        "X-GitHub-Event": "push",
        "X-GitHub-Hook-ID": "109948940",
        "X-GitHub-Hook-Installation-Target-ID": "186853002",
        "X-GitHub-Hook-Installation-Target-Type": "repository",
        "X-Hub-Signature": "sha1=" + hmac.new(secret, body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
    }
    try:
        connection = connect(url, given.connect, given.ca)
        connection.request("POST", url.path or "/", body, headers)
        response = connection.getresponse()
        answer = response.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        print(f"the webhook was not delivered: {error}", file=sys.stderr)
        return 1
    print(f"{response.status} {answer}")
    return 0 if 200 <= response.status < 300 else 1


if __name__ == "__main__":
    sys.exit(main())
