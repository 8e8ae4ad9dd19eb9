#!/usr/bin/env python3
"""A GitHub on loopback for tests: the parts of its REST API that Atlasflow calls, and smart HTTP Git.

Stricter than the real one: what GitHub lets pass but documents (Accept, X-GitHub-Api-Version,
User-Agent, the claims of a JWT) is refused here and written down as a violation, which a test reads
at its end. Git is served by git's own http-backend. Python's standard library and git only; the
signature of a JWT is checked by modular arithmetic, so by nothing that Atlasflow has, too.

    local_github.py CONFIG.json PORT_FILE

It ends when its standard input does, so never later than the test that started it.

CONFIG: {"app_id": 1, "modulus": "hex", "exponent": 65537, "slug": "…", "git_root": "…",
         "repositories": [{"id": 7, "owner": "octo", "name": "web", "private": true,
                           "installation": 42}]}

For tests: POST /_control changes the world (see `control`), GET /_journal tells what was asked for.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import secrets
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse

API = "/api/v3"
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017 section 9.2


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status, message, headers=None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


class World:
    def __init__(self, config):
        self.lock = threading.Lock()
        self.config = config
        self.repositories = config["repositories"]
        self.tokens = {}  # token: {"expires", "installation", "repositories", "permissions"}
        self.minted = []  # every token that ever was
        self.codes = {}  # of the manifest flow: code: conversion
        self.journal = []
        self.violations = []
        self.faults = []  # [{"method", "path", "status", "headers", "body" or "raw", "times", "delay_s"}]
        self.token_life_s = 3600
        self.clock_offset_s = 0
        self.suspended = set()
        self.revoke_after_git_requests = None
        self.moved = {}  # former full name: repository id
        self.deliveries = []
        self.deployments = []  # [{"id", "repository", "sha", "environment", "payload", "statuses"}]
        self.commit_statuses = []  # [{"repository", "sha", "state", "context", ...}]
        self.comments = []  # [{"id", "repository", "issue", "body", "app"}]
        self.page_max = 100
        self.heads = {}  # "<owner>/<name> <branch>": commit; before what its Git repository has

    def now(self):
        return int(time.time()) + self.clock_offset_s

    def repository(self, full_name):
        for each in self.repositories:
            if f"{each['owner']}/{each['name']}".lower() == full_name.lower():
                return each
        return None

    def repository_of_id(self, number):
        for each in self.repositories:
            if each["id"] == number:
                return each
        return None


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def check_jwt(world, text):
    parts = text.split(".")
    if len(parts) != 3 or "=" in text:
        raise Refused(401, "A JSON web token could not be decoded")
    header, claims, signature = (unpadded(part) for part in parts)
    if json.loads(header) != {"alg": "RS256", "typ": "JWT"}:
        raise Refused(401, "A JSON web token could not be decoded")
    claims = json.loads(claims)
    if str(claims["iss"]) != str(world.config["app_id"]):
        raise Refused(404, "Integration not found")
    modulus, exponent = int(world.config["modulus"], 16), world.config["exponent"]
    size = (modulus.bit_length() + 7) // 8
    found = pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(size, "big")
    digest = SHA256_PREFIX + hashlib.sha256(".".join(parts[:2]).encode()).digest()
    wanted = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    if len(signature) != size or not hmac.compare_digest(found, wanted):
        raise Refused(401, "A JSON web token could not be decoded")
    for name in ("iat", "exp"):
        if not isinstance(claims[name], int):
            raise Refused(401, f"'{name}' must be an integer")
    if claims["iat"] > world.now():
        raise Refused(401, "'Issued at' claim ('iat') must be an Integer representing the time that the "
                           "assertion was issued")
    if claims["exp"] <= world.now():
        raise Refused(401, "'Expiration time' claim ('exp') must be a numeric value representing the "
                           "future time at which the assertion expires")
    if claims["exp"] - world.now() > 600:
        raise Refused(401, "'Expiration time' claim ('exp') is too far in the future")


def app_json(world):
    return {
        "id": world.config["app_id"], "slug": world.config["slug"], "name": world.config["slug"].title(),
        "node_id": "x", "owner": {"login": "octo", "id": 1, "type": "Organization"},
        "description": None, "external_url": "https://example.com",
        "html_url": f"{world.base}/apps/{world.config['slug']}",
        "created_at": iso(0), "updated_at": iso(0),
        "permissions": world.config.get("permissions", {
            "contents": "read", "deployments": "write", "metadata": "read", "pull_requests": "write",
            "statuses": "write"}),
        "events": world.config.get("events", ["pull_request", "push", "repository"]),
        "installations_count": 1,
    }


def repository_json(world, repository):
    full_name = f"{repository['owner']}/{repository['name']}"
    return {"id": repository["id"], "name": repository["name"], "full_name": full_name,
            "private": repository["private"], "clone_url": f"{world.base}/{full_name}.git",
            "default_branch": repository.get("default_branch", "main")}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "LocalGitHub"
    sys_version = ""
    link = None  # of a list's next page

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(self.server.world.now())

    # ---- the plumbing ----

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, data=b"", headers=None):
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        self.send_response(status)
        fields = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def violation(self, text):
        self.server.world.violations.append(f"{self.command} {self.path}: {text}")

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def do_PATCH(self):
        self.serve()

    def do_DELETE(self):
        self.serve()

    def serve(self):
        world = self.server.world
        self.link = None
        body = self.body()
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/_control":
            return self.answer(200, control(world, json.loads(body)))
        if url.path == "/_journal":
            return self.answer(200, {"requests": world.journal, "violations": world.violations,
                                     "minted": world.minted, "deployments": world.deployments,
                                     "commit_statuses": world.commit_statuses,
                                     "comments": world.comments})
        if "@" in self.path or "ghs_" in self.path or "token" in url.query:
            self.violation("a credential in the URL")
        with world.lock:
            world.journal.append({
                "method": self.command, "path": self.path, "body": body[:4096].decode("latin-1"),
                "conditional": self.headers.get("If-None-Match") is not None})
        try:
            if url.path.startswith(API + "/"):
                return self.api(url.path[len(API):], urllib.parse.parse_qs(url.query), body)
            if url.path.endswith("/settings/apps/new") and self.command == "POST":
                return self.new_app(url, body)
            return self.git(url, body)
        except Refused as refused:
            data = {"message": refused.message, "documentation_url": "https://docs.github.com/rest",
                    "status": str(refused.status)}
            return self.answer(refused.status, data, refused.headers)

    def fault(self, path):
        world = self.server.world
        with world.lock:
            for each in world.faults:
                if each["times"] > 0 and each.get("method", self.command) == self.command and \
                        re.fullmatch(each["path"], path):
                    each["times"] -= 1
                    return each
        return None

    # ---- the REST API ----

    def api(self, path, query, body):
        world = self.server.world
        if fault := self.fault(path):
            time.sleep(fault.get("delay_s", 0))
            if fault["status"] == 0:  # hangs up without an answer
                self.close_connection = True
                return None
            body = fault["raw"].encode() if "raw" in fault else fault.get("body", {})
            return self.answer(fault["status"], body, fault.get("headers"))
        if not self.headers.get("User-Agent", "").startswith("atlasflow"):
            self.violation("no User-Agent of Atlasflow's")
            raise Refused(403, "Request forbidden by administrative rules. Please make sure your request "
                               "has a User-Agent header")
        if self.headers.get("Accept") != "application/vnd.github+json":
            self.violation("Accept is not application/vnd.github+json")
        if self.headers.get("X-GitHub-Api-Version") != "2022-11-28":
            self.violation("X-GitHub-Api-Version is not 2022-11-28")
        if body and self.headers.get("Content-Type") != "application/json":
            self.violation("a body without Content-Type: application/json")
        data = json.loads(body) if body else {}
        for method, pattern, who, run in ROUTES:
            match = re.fullmatch(pattern, path)
            if not match or method != self.command:
                continue
            token = self.authorize(who)
            status, value = run(self, world, token, data, query, *match.groups())
            return self.conditional(status, value)
        self.violation("no such endpoint")
        raise Refused(404, "Not Found")

    # A GET has an ETag, and one that is known already costs nothing.
    def conditional(self, status, value):
        if isinstance(value, Redirect):
            return self.answer(value.status, {"message": "Moved", "url": value.url},
                               {"Location": value.url})
        if self.command != "GET" or status != 200:
            return self.answer(status, value if value is not None else b"")
        tag = '"' + hashlib.sha256(json.dumps(value).encode()).hexdigest() + '"'
        if self.headers.get("If-None-Match") == tag:
            return self.answer(304, b"", {"ETag": tag})
        return self.answer(200, value, {"ETag": tag, **({"Link": self.link} if self.link else {})})

    def authorize(self, who):
        world = self.server.world
        field = self.headers.get("Authorization")
        if who == "nobody":
            if field is not None:
                self.violation("an Authorization where none belongs")
            return None
        if field is None or not field.startswith("Bearer "):
            self.violation("Authorization is not Bearer")
            raise Refused(401, "Requires authentication")
        text = field[len("Bearer "):]
        if who == "app":
            check_jwt(world, text)
            return None
        return self.installation_token(text)

    def installation_token(self, text):
        world = self.server.world
        token = world.tokens.get(text)
        if token is None or token["expires"] <= world.now():
            raise Refused(401, "Bad credentials")
        return token

    # ---- Git ----

    def git(self, url, body):
        world = self.server.world
        match = re.fullmatch(r"/([^/]+)/([^/]+?)(?:\.git)?/(info/refs|git-upload-pack)", url.path)
        if not match:
            raise Refused(404, "Not Found")
        full_name = f"{match[1]}/{match[2]}"
        repository = world.repository(full_name) or \
            world.repository_of_id(world.moved.get(full_name.lower()))
        if repository is None or repository["private"]:
            self.git_login(repository)
        with world.lock:
            if world.revoke_after_git_requests is not None:
                world.revoke_after_git_requests -= 1
                if world.revoke_after_git_requests <= 0:
                    world.tokens.clear()
                    world.revoke_after_git_requests = None
        folder = f"/{repository['owner']}/{repository['name']}.git"
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": world.config["git_root"], "REQUEST_METHOD": self.command,
            "PATH_INFO": folder + "/" + match[3], "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1", "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        run = subprocess.run(
            ["git", "-c", "safe.directory=*", "-c", "uploadpack.allowAnySHA1InWant=true",
             "http-backend"], input=body, env=environment, capture_output=True, timeout=60,
            check=False)
        head, _, data = run.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        status = int(fields.pop("Status", "200 OK").split()[0])
        fields = {name: value for name, value in fields.items() if name.lower() != "content-length"}
        return self.answer(status, data, fields)

    def git_login(self, repository):
        asks = {"WWW-Authenticate": 'Basic realm="GitHub"'}
        field = self.headers.get("Authorization", "")
        if not field.startswith("Basic "):
            raise Refused(401, "Repository not found.", asks)
        name, _, password = base64.b64decode(field[len("Basic "):]).decode().partition(":")
        if name != "x-access-token":
            self.violation("a token with another user name than x-access-token")
        try:
            token = self.installation_token(password)
        except Refused:
            raise Refused(401, "Invalid username or token.", asks) from None
        if repository is None or repository["id"] not in token["repositories"]:
            raise Refused(404, "Repository not found.")
        if token["permissions"].get("contents") not in ("read", "write"):
            raise Refused(403, "Write access to repository not granted.")

    # ---- the manifest flow's page ----

    def new_app(self, url, body):
        world = self.server.world
        manifest = json.loads(urllib.parse.parse_qs(body.decode())["manifest"][0])
        known = {"name", "url", "hook_attributes", "redirect_url", "callback_urls", "setup_url",
                 "description", "public", "default_events", "default_permissions",
                 "request_oauth_on_install", "setup_on_update"}
        for name in set(manifest) - known:
            self.violation(f"the manifest has no '{name}'")
        for name in ("url", "redirect_url"):
            if not manifest.get(name):
                self.violation(f"the manifest has no {name}")
        if not manifest.get("hook_attributes", {}).get("url"):
            self.violation("the manifest has no webhook")
        code = secrets.token_hex(20)
        world.codes[code] = manifest
        state = urllib.parse.parse_qs(url.query).get("state", [""])[0]
        query = urllib.parse.urlencode({"code": code, "state": state})
        return self.answer(302, b"", {"Location": manifest["redirect_url"] + "?" + query})


class Redirect:
    def __init__(self, status, url):
        self.status, self.url = status, url


# ---- the endpoints ----


def get_app(_, world, _token, _data, _query):
    return 200, app_json(world)


def installation_json(world, repository):
    number = repository["installation"]
    return {"id": number, "app_id": world.config["app_id"], "app_slug": world.config["slug"],
            "account": {"login": repository["owner"], "id": 1, "type": "Organization"},
            "target_type": "Organization", "target_id": 1, "repository_selection": "selected",
            "html_url": f"{world.base}/organizations/{repository['owner']}/settings/installations/{number}",
            "permissions": app_json(world)["permissions"], "events": app_json(world)["events"],
            "suspended_at": iso(world.now()) if number in world.suspended else None}


def repository_installation(_, world, _token, _data, _query, owner, name):
    full_name = f"{owner}/{name}"
    if moved := world.moved.get(full_name.lower()):
        return 301, Redirect(301, f"{world.base}{API}/repositories/{moved}/installation")
    repository = world.repository(full_name)
    if repository is None or not repository.get("installation"):
        raise Refused(404, "Not Found")
    return 200, installation_json(world, repository)


def repository_installation_of_id(_, world, _token, _data, _query, number):
    repository = world.repository_of_id(int(number))
    if repository is None or not repository.get("installation"):
        raise Refused(404, "Not Found")
    return 200, installation_json(world, repository)


def access_token(handler, world, _token, data, _query, number):
    number = int(number)
    own = [each for each in world.repositories if each.get("installation") == number]
    if not own:
        raise Refused(404, "Not Found")
    if number in world.suspended:
        raise Refused(403, "This installation has been suspended")
    unknown = set(data) - {"repositories", "repository_ids", "permissions"}
    if unknown:
        handler.violation(f"unknown members {sorted(unknown)}")
    if not data.get("repositories") and not data.get("repository_ids"):
        handler.violation("a token that is not narrowed to a repository")
    if not data.get("permissions"):
        handler.violation("a token that is not narrowed to permissions")
    chosen = [each for each in own if each["name"] in data.get("repositories", []) or
              each["id"] in data.get("repository_ids", [])]
    if len(chosen) != len(data.get("repositories", [])) + len(data.get("repository_ids", [])):
        raise Refused(422, "There is at least one repository that does not exist or is not accessible "
                           "to the parent installation.")
    granted = app_json(world)["permissions"]
    for name, level in data.get("permissions", {}).items():
        if level != granted.get(name) and granted.get(name) != "write":
            raise Refused(422, "The permissions requested are not granted to this installation.")
    token = "ghs_" + secrets.token_urlsafe(27).replace("-", "x").replace("_", "y")
    world.minted.append(token)
    expires = world.now() + world.token_life_s
    world.tokens[token] = {"expires": expires, "installation": number,
                           "repositories": [each["id"] for each in chosen],
                           "permissions": data.get("permissions", {})}
    return 201, {"token": token, "expires_at": iso(expires), "permissions": data.get("permissions"),
                 "repository_selection": "selected",
                 "repositories": [repository_json(world, each) for each in chosen]}


def conversion(_, world, _token, _data, _query, code):
    manifest = world.codes.pop(code, None)
    if manifest is None:
        raise Refused(404, "Not Found")
    return 201, {**app_json(world), "client_id": "Iv1.x", "client_secret": secrets.token_hex(20),
                 "webhook_secret": world.config["webhook_secret"], "pem": world.config["pem"],
                 "permissions": manifest.get("default_permissions", {}),
                 "events": manifest.get("default_events", [])}


def hook_config(_, world, _token, _data, _query):
    return 200, {"content_type": "json", "insecure_ssl": "0", "secret": "********",
                 "url": world.config["hook_url"]}


def hook_deliveries(handler, world, _token, _data, query):
    after = int(query.get("cursor", ["0"])[0])
    count = min(int(query.get("per_page", ["30"])[0]), world.page_max)
    end = after + count
    if end < len(world.deliveries):
        handler.link = (f'<{world.base}{API}/app/hook/deliveries?per_page={count}&cursor={end}>; '
                        'rel="next"')
    return 200, world.deliveries[after:end]


def hook_attempt(_, world, _token, _data, _query, number):
    for each in world.deliveries:
        if each["id"] == int(number):
            each["asked_again"] = each.get("asked_again", 0) + 1
            return 202, {}
    raise Refused(404, "Not Found")


def readable(world, token, repository):
    if repository is None or repository["id"] not in token["repositories"]:
        raise Refused(404, "Not Found")
    if token["permissions"].get("contents") not in ("read", "write"):
        raise Refused(403, "Resource not accessible by integration")
    return repository


def get_repository(_, world, token, _data, _query, owner, name):
    if moved := world.moved.get(f"{owner}/{name}".lower()):
        return 301, Redirect(301, f"{world.base}{API}/repositories/{moved}")
    return 200, repository_json(world, readable(world, token, world.repository(f"{owner}/{name}")))


def get_repository_of_id(_, world, token, _data, _query, number):
    return 200, repository_json(world, readable(world, token, world.repository_of_id(int(number))))


def git_ref(_, world, token, _data, _query, owner, name, ref):
    if moved := world.moved.get(f"{owner}/{name}".lower()):
        return 301, Redirect(301, f"{world.base}{API}/repositories/{moved}/git/ref/heads/{ref}")
    return ref_of(world, readable(world, token, world.repository(f"{owner}/{name}")), ref)


def git_ref_of_id(_, world, token, _data, _query, number, ref):
    return ref_of(world, readable(world, token, world.repository_of_id(int(number))), ref)


def ref_of(world, repository, ref):
    branch = urllib.parse.unquote(ref)
    full_name = f"{repository['owner']}/{repository['name']}"
    sha = world.heads.get(f"{full_name} {branch}")
    folder = os.path.join(world.config["git_root"], full_name + ".git")
    if sha is None and os.path.exists(folder):
        run = subprocess.run(["git", "-c", "safe.directory=*", "-C", folder, "rev-parse", "--verify",
                              "refs/heads/" + branch], capture_output=True, check=False)
        sha = run.stdout.decode().strip() if run.returncode == 0 else ""
    if sha is None:
        raise Refused(409, "Git Repository is empty.")
    if not sha:
        raise Refused(404, "Not Found")
    return 200, {"ref": f"refs/heads/{branch}", "node_id": "x", "url": "x",
                 "object": {"type": "commit", "sha": sha, "url": "x"}}


# A GET is redirected with 301, anything else with 307.
def deployable(handler, world, token, owner, name, rest, permission="deployments"):
    if moved := world.moved.get(f"{owner}/{name}".lower()):
        status = 301 if handler.command == "GET" else 307
        query = urllib.parse.urlsplit(handler.path).query
        target = f"{world.base}{API}/repositories/{moved}/{rest}" + (f"?{query}" if query else "")
        return None, (status, Redirect(status, target))
    return allowed(world, token, world.repository(f"{owner}/{name}"), permission), None


def allowed(world, token, repository, permission="deployments"):
    if repository is None or repository["id"] not in token["repositories"]:
        raise Refused(404, "Not Found")
    if token["permissions"].get(permission) != "write" or \
            app_json(world)["permissions"].get(permission) != "write":
        raise Refused(403, "Resource not accessible by integration")
    return repository


def list_deployments(handler, world, token, _data, query, owner, name):
    repository, moved = deployable(handler, world, token, owner, name, "deployments")
    return moved or deployments_of(world, repository, query)


def list_deployments_of_id(_, world, token, _data, query, number):
    return deployments_of(world, allowed(world, token, world.repository_of_id(int(number))), query)


def deployments_of(world, repository, query):
    found = [each for each in world.deployments if each["repository"] == repository["id"] and
             each["sha"] == query.get("sha", [each["sha"]])[0]]
    return 200, [{name: each[name] for name in ("id", "sha", "environment", "payload")}
                 for each in reversed(found)]


def new_deployment(handler, world, token, data, _query, owner, name):
    repository, moved = deployable(handler, world, token, owner, name, "deployments")
    return moved or deploy(handler, world, repository, data)


def new_deployment_of_id(handler, world, token, data, _query, number):
    return deploy(handler, world, allowed(world, token, world.repository_of_id(int(number))), data)


def deploy(handler, world, repository, data):
    known = {"ref", "task", "auto_merge", "required_contexts", "payload", "environment", "description",
             "transient_environment", "production_environment"}
    if unknown := set(data) - known:
        handler.violation(f"a deployment has no {sorted(unknown)}")
    # What GitHub would do by default nobody wants here.
    if data.get("auto_merge") is not False:
        handler.violation("a deployment that merges the default branch")
    if data.get("required_contexts") != []:
        handler.violation("a deployment that waits for checks")
    if len(data.get("description") or "") > 140:
        raise Refused(422, "description is too long (maximum is 140 characters)")
    if not re.fullmatch(r"[0-9a-f]{40}", data.get("ref", "")):
        handler.violation("a deployment of something else than a commit")
    deployment = {"id": 1000 + len(world.deployments), "repository": repository["id"],
                  "sha": data["ref"], "environment": data["environment"],
                  "payload": data.get("payload", {}),
                  "production": data.get("production_environment"),
                  "transient": data.get("transient_environment"), "statuses": []}
    world.deployments.append(deployment)
    return 201, {"id": deployment["id"], "sha": data["ref"]}


def new_status(handler, world, token, data, _query, owner, name, number):
    repository, moved = deployable(handler, world, token, owner, name, f"deployments/{number}/statuses")
    return moved or add_status(handler, world, repository, data, number)


def new_status_of_id(handler, world, token, data, _query, repository, number):
    repository = allowed(world, token, world.repository_of_id(int(repository)))
    return add_status(handler, world, repository, data, number)


def add_status(handler, world, repository, data, number):
    known = {"state", "target_url", "log_url", "description", "environment", "environment_url",
             "auto_inactive"}
    if unknown := set(data) - known:
        handler.violation(f"a deployment's status has no {sorted(unknown)}")
    if data.get("state") not in ("error", "failure", "inactive", "in_progress", "queued", "pending",
                                 "success"):
        raise Refused(422, "state is not included in the list")
    if len(data.get("description") or "") > 140:
        raise Refused(422, "description is too long (maximum is 140 characters)")
    if data.get("auto_inactive") is not False:
        handler.violation("a status that ends other deployments")
    for each in world.deployments:
        if each["id"] == int(number) and each["repository"] == repository["id"]:
            each["statuses"].append(data)
            return 201, {"id": len(each["statuses"]), "state": data["state"]}
    raise Refused(404, "Not Found")


# ---- commit statuses, and comments on pull requests ----


def new_commit_status(handler, world, token, data, _query, owner, name, sha):
    repository, moved = deployable(handler, world, token, owner, name, f"statuses/{sha}", "statuses")
    return moved or set_commit_status(handler, world, repository, data, sha)


def new_commit_status_of_id(handler, world, token, data, _query, repository, sha):
    repository = allowed(world, token, world.repository_of_id(int(repository)), "statuses")
    return set_commit_status(handler, world, repository, data, sha)


def set_commit_status(handler, world, repository, data, sha):
    if unknown := set(data) - {"state", "target_url", "description", "context"}:
        handler.violation(f"a commit's status has no {sorted(unknown)}")
    if data.get("state") not in ("error", "failure", "pending", "success"):
        raise Refused(422, "Validation Failed")
    if len(data.get("description") or "") > 140:
        raise Refused(422, "description is too long (maximum is 140 characters)")
    if not re.match(r"https?://", data.get("target_url") or "https://"):
        raise Refused(422, "target_url must use http(s) scheme")
    world.commit_statuses.append({"repository": repository["id"], "sha": sha, **data})
    return 201, {"id": len(world.commit_statuses), "state": data["state"], "context": data["context"]}


def comment_json(world, comment):
    app = {"id": comment["app"], "slug": world.config["slug"]} if comment["app"] else None
    return {"id": comment["id"], "body": comment["body"], "performed_via_github_app": app,
            "user": {"login": world.config["slug"] + "[bot]", "type": "Bot"}}


def list_comments(handler, world, token, _data, query, owner, name, number):
    repository, moved = deployable(handler, world, token, owner, name, f"issues/{number}/comments",
                                   "pull_requests")
    if moved:
        return moved
    found = [each for each in world.comments if each["repository"] == repository["id"] and
             each["issue"] == int(number)]
    page = int(query.get("page", ["1"])[0])
    count = min(int(query.get("per_page", ["30"])[0]), world.page_max)
    if page * count < len(found):
        handler.link = (f'<{world.base}{API}/repos/{owner}/{name}/issues/{number}/comments'
                        f'?per_page={count}&page={page + 1}>; rel="next"')
    return 200, [comment_json(world, each) for each in found[(page - 1) * count:page * count]]


def new_comment(handler, world, token, data, _query, owner, name, number):
    repository, moved = deployable(handler, world, token, owner, name, f"issues/{number}/comments",
                                   "pull_requests")
    if moved:
        return moved
    check_comment(handler, data)
    comment = {"id": 5000 + len(world.comments), "repository": repository["id"],
               "issue": int(number), "body": data["body"], "app": world.config["app_id"]}
    world.comments.append(comment)
    return 201, comment_json(world, comment)


def edit_comment(handler, world, token, data, _query, owner, name, number):
    repository, moved = deployable(handler, world, token, owner, name, f"issues/comments/{number}",
                                   "pull_requests")
    if moved:
        return moved
    check_comment(handler, data)
    for each in world.comments:
        if each["id"] == int(number) and each["repository"] == repository["id"]:
            if each["app"] != world.config["app_id"]:
                handler.violation("somebody else's comment is changed")
                raise Refused(403, "Resource not accessible by integration")
            each["body"] = data["body"]
            each["edits"] = each.get("edits", 0) + 1
            return 200, comment_json(world, each)
    raise Refused(404, "Not Found")


def check_comment(handler, data):
    if set(data) != {"body"}:
        handler.violation(f"a comment has a body and nothing else: {sorted(data)}")
    if not data.get("body") or len(data["body"]) > 65536:
        raise Refused(422, "Validation Failed")


NAME = r"([A-Za-z0-9._-]+)"
ROUTES = [
    ("GET", r"/app", "app", get_app),
    ("GET", rf"/repos/{NAME}/{NAME}/installation", "app", repository_installation),
    ("GET", r"/repositories/(\d+)/installation", "app", repository_installation_of_id),
    ("POST", r"/app/installations/(\d+)/access_tokens", "app", access_token),
    ("POST", rf"/app-manifests/{NAME}/conversions", "nobody", conversion),
    ("GET", r"/app/hook/config", "app", hook_config),
    ("GET", r"/app/hook/deliveries", "app", hook_deliveries),
    ("POST", r"/app/hook/deliveries/(\d+)/attempts", "app", hook_attempt),
    ("GET", rf"/repos/{NAME}/{NAME}", "installation", get_repository),
    ("GET", r"/repositories/(\d+)", "installation", get_repository_of_id),
    ("GET", rf"/repos/{NAME}/{NAME}/git/ref/heads/(.+)", "installation", git_ref),
    ("GET", r"/repositories/(\d+)/git/ref/heads/(.+)", "installation", git_ref_of_id),
    ("GET", rf"/repos/{NAME}/{NAME}/deployments", "installation", list_deployments),
    ("POST", rf"/repos/{NAME}/{NAME}/deployments", "installation", new_deployment),
    ("POST", rf"/repos/{NAME}/{NAME}/deployments/(\d+)/statuses", "installation", new_status),
    ("POST", rf"/repos/{NAME}/{NAME}/statuses/([0-9a-f]{{40}})", "installation", new_commit_status),
    ("POST", r"/repositories/(\d+)/statuses/([0-9a-f]{40})", "installation",
     new_commit_status_of_id),
    ("GET", rf"/repos/{NAME}/{NAME}/issues/(\d+)/comments", "installation", list_comments),
    ("POST", rf"/repos/{NAME}/{NAME}/issues/(\d+)/comments", "installation", new_comment),
    ("PATCH", rf"/repos/{NAME}/{NAME}/issues/comments/(\d+)", "installation", edit_comment),
    ("GET", r"/repositories/(\d+)/deployments", "installation", list_deployments_of_id),
    ("POST", r"/repositories/(\d+)/deployments", "installation", new_deployment_of_id),
    ("POST", r"/repositories/(\d+)/deployments/(\d+)/statuses", "installation", new_status_of_id),
]


def control(world, order):
    with world.lock:
        for name, value in order.items():
            if name == "fault":
                world.faults.append({"times": 1, **value})
            elif name == "revoke_tokens":
                world.tokens.clear()
            elif name in ("token_life_s", "clock_offset_s", "revoke_after_git_requests", "deliveries",
                          "page_max"):
                setattr(world, name, value)
            elif name == "suspend":
                world.suspended.add(value)
            elif name == "unsuspend":
                world.suspended.discard(value)
            elif name == "heads":
                world.heads.update(value)
            elif name == "default_branch":
                world.repository(value["repository"])["default_branch"] = value["branch"]
            elif name == "delete":
                world.repositories.remove(world.repository(value))
            elif name == "identify":  # another repository under the same name
                world.repository(value["repository"])["id"] = value["id"]
            elif name == "uninstall":
                world.repository(value)["installation"] = None
            elif name == "install":
                world.repository(value["repository"])["installation"] = value["installation"]
            elif name == "rename":
                repository = world.repository(value["from"])
                before = os.path.join(world.config["git_root"], value["from"] + ".git")
                repository["owner"], repository["name"] = value["to"].split("/")
                after = os.path.join(world.config["git_root"], value["to"] + ".git")
                if os.path.exists(before):
                    os.makedirs(os.path.dirname(after), exist_ok=True)
                    os.rename(before, after)
                world.moved[value["from"].lower()] = repository["id"]
            elif name in ("permissions", "events", "hook_url"):
                world.config[name] = value
            elif name == "comment":  # somebody writes one: {"issue", "body", "app", "repository"}
                world.comments.append({"id": 5000 + len(world.comments), **value})
            elif name == "delete_comments":
                world.comments.clear()
            else:
                return {"error": f"no control '{name}'"}
    return {"tokens": len(world.tokens)}


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        # A client that leaves in the middle is no failure of the server's.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main():
    config_file, port_file = sys.argv[1:]
    with open(config_file, encoding="utf-8") as file:
        world = World(json.load(file))
    server = Server(("127.0.0.1", 0), Handler)
    server.world = world
    world.base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(port_file + ".new", "w", encoding="utf-8") as file:
        file.write(str(server.server_port))
    os.rename(port_file + ".new", port_file)
    sys.stdin.read()


main()
