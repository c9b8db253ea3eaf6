#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make demo`: the whole road in a temporary folder. Starts a server, and through the unmodified
dtlpy uploads real photographs, pushes and deploys examples/image-quality, runs its functions over
all of them in parallel, and shows outputs, a traceback, and where the server is.

The server stays up until Ctrl-C (or at once with --once, for tests)."""
import argparse
import collections
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("DROVER_CACHE_HOME", pathlib.Path.home() / ".cache" / "drover"))
DTLPY = "dtlpy==1.126.5"
PHOTO_PACKAGES = ["scikit-image", "scikit-learn"]  # only for the sample photographs that they ship
FINAL = {"success", "failed", "terminated", "aborted", "canceled", "system-failure"}


def say(text):
    print(f"\n==> {text}", flush=True)


def bar(done, total, failed):
    width = 40
    filled = width * done // max(total, 1)
    line = f"[{'#' * filled}{'.' * (width - filled)}] {done}/{total} done, {failed} failed"
    if sys.stdout.isatty():
        print("\r" + line, end="\n" if done == total else "", flush=True)
    elif done == total or done % 10 == 0:
        print(line, flush=True)


def client_python():
    """A virtual environment with dtlpy, made once and kept in the cache."""
    venv = CACHE / "demo-venv"
    python = venv / "bin" / "python"
    marker = venv / ".complete"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "demo-venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another demo may be making it
        if not marker.exists():
            say(f"making a Python environment with {DTLPY} (once; a few minutes)")
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
            subprocess.run(pip + [DTLPY], check=True)
            subprocess.run(pip + ["--no-deps"] + PHOTO_PACKAGES, check=True)
            marker.write_text(DTLPY + "\n")
    return python


def photographs(python):
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        check=True, capture_output=True, text=True).stdout.strip()
    folders = [pathlib.Path(site) / "skimage" / "data", pathlib.Path(site) / "sklearn" / "datasets" / "images"]
    found = [path for folder in folders for path in sorted(folder.glob("*"))
             if path.suffix in (".png", ".jpg") and path.stat().st_size > 30_000]
    if not found:
        sys.exit("no sample photographs found: remove " + str(CACHE / "demo-venv") + " and try again")
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, folder, build, port):
        self.url = f"http://127.0.0.1:{port}"
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.process = subprocess.Popen(
            [str(build / "drover"), "server", "--data", str(self.data), "--listen", f"127.0.0.1:{port}",
             "--cache", str(CACHE / "agents"), "--python", sys.executable],
            stderr=self.log.open("wb"), stdin=subprocess.DEVNULL)

    def wait_ready(self):
        for _ in range(200):
            if self.process.poll() is not None:
                sys.exit(f"the server ended at once:\n{self.log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(self.url + "/readyz", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("the server did not get ready in 20 s; its log: " + str(self.log))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)


# ── what runs inside the environment with dtlpy ──────────────────────────────────────────────


def login(url, key):
    import warnings
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    import dtlpy as dl
    dl.verbose.disable_progress_bar = True  # this script draws its own
    dl.client_api.add_environment(environment=url + "/api/v1", alias="drover-demo", gate_url=url,
                                  verify_ssl=False, url=url + "/")
    dl.setenv("drover-demo")
    dl.login_api_key(api_key=key)
    return dl


def deploy(dl, project):
    item_input = [dl.FunctionIO(name="item", type=dl.PackageInputType.ITEM)]
    module = dl.PackageModule(
        name="image-quality", class_name="ServiceRunner", entry_point="main.py",
        init_inputs=[dl.FunctionIO(name="thumbnail_size", type=dl.PackageInputType.JSON)],
        functions=[dl.PackageFunction(name=name, inputs=item_input) for name in ("sharpness", "thumbnail", "broken")])
    os.chdir(ROOT)
    package = project.packages.push(package_name="image-quality", src_path=str(ROOT / "examples" / "image-quality"),
                                    modules=[module])
    return project.services.deploy(service_name="image-quality", package=package, init_input={"thumbnail_size": 128})


def wait_replica(dl, service):
    """Shows what the first agent is doing until it is ready."""
    seen = None
    while True:
        success, response = dl.client_api.gen_request(req_type="get", path=f"/services/{service.id}/status")
        status = response.json() if success else {}
        replicas = status.get("runtimeStatus", [])
        if any(replica.get("status") for replica in replicas):
            print("    an agent is ready", flush=True)
            return
        words = "; ".join(filter(None, (replica.get("message") or replica.get("reason") for replica in replicas)))
        if words and words != seen:
            print("    " + words.strip().splitlines()[-1], flush=True)
            seen = words
        time.sleep(0.5)


def run_all(dl, service, items):
    """Executes both functions over every item in one call, and follows them with a bar."""
    wanted = [{"functionName": name, "projectId": service.project_id,
               "input": {"item": {"item_id": item.id, "dataset_id": item.dataset_id}}}
              for item in items for name in ("sharpness", "thumbnail")]
    wanted.append({"functionName": "broken", "projectId": service.project_id,
                   "input": {"item": {"item_id": items[0].id, "dataset_id": items[0].dataset_id}}})
    success, response = dl.client_api.gen_request(req_type="post", path=f"/executions/{service.id}", json_req=wanted)
    if not success:
        sys.exit(f"the executions were refused: {response.text}")
    ids = [entry["id"] for entry in response.json()]
    filters = dl.Filters(resource=dl.FiltersResource.EXECUTION, field="serviceId", values=service.id)
    filters.page_size = 100
    while True:
        page = [execution for page in service.executions.list(filters=filters) for execution in page]
        ended = [execution for execution in page if execution.latest_status["status"] in FINAL]
        bar(len(ended), len(ids), sum(execution.latest_status["status"] != "success" for execution in ended))
        if len(ended) == len(ids):
            return page
        time.sleep(0.3)


def show(executions):
    print(f"\n{'photograph':28} {'size':>11} {'sharpness':>10} {'ms':>7}")
    for execution in sorted(executions, key=lambda e: e.created_at):
        output = execution.latest_status.get("output") or execution.to_json().get("output")
        if execution.function_name == "sharpness" and isinstance(output, dict):
            size = f"{output['width']}x{output['height']}"
            print(f"{output['name'][:28]:28} {size:>11} {output['sharpness']:10.1f} {execution.duration or 0:7}")
    states = collections.Counter((e.function_name, e.latest_status["status"]) for e in executions)
    print()
    for (name, status), count in sorted(states.items()):
        print(f"  {name:12} {status:10} {count}")
    for execution in executions:
        if execution.latest_status["status"] == "failed":
            error = execution.latest_status.get("error") or {}
            print(f"\nThe execution {execution.id} of '{execution.function_name}' failed on purpose:\n")
            print(error.get("stack") or error.get("message") or json.dumps(error))


def client_main(args):
    dl = login(args.url, args.key)
    say("a project and a dataset")
    project = dl.projects.create(project_name="demo")
    dataset = project.datasets.create(dataset_name="photographs")
    photos = [pathlib.Path(line) for line in sys.stdin.read().split("\n") if line]
    say(f"uploading {len(photos)} photographs")
    items = [dataset.items.upload(local_path=str(path), remote_path="/photos") for path in photos]
    say("pushing and deploying examples/image-quality")
    service = deploy(dl, project)
    say("waiting for the service's first agent (its environment is made once, then cached)")
    wait_replica(dl, service)
    say(f"running sharpness and thumbnail over {len(items)} photographs, in parallel")
    executions = run_all(dl, service, items)
    show(executions)
    say("the log of one execution")
    chosen = next(execution for execution in executions if execution.function_name == "sharpness")
    chosen.logs(follow=False)  # prints them


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"), help="folder of the binaries")
    parser.add_argument("--port", type=int, default=0, help="port of the server (default: a free one)")
    parser.add_argument("--once", action="store_true", help="stop the server when everything was shown")
    parser.add_argument("--keep", metavar="DIR", help="use and keep this folder instead of a temporary one")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--key", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        client_main(args)
        return 0

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, with everything stopped
    python = client_python()
    photos = photographs(python)
    folder = pathlib.Path(args.keep) if args.keep else pathlib.Path(tempfile.mkdtemp(prefix="drover-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, pathlib.Path(args.build), args.port or free_port())
    try:
        server.wait_ready()
        say(f"the server is ready at {server.url} (log: {server.log})")
        key = (server.data / "admin-key").read_text().strip()
        environment = dict(os.environ, DATALOOP_PATH=str(folder / "dataloop"))
        done = subprocess.run([str(python), __file__, "--client", "--url", server.url, "--key", key],
                              input="\n".join(str(photo) for photo in photos), text=True, env=environment, cwd=folder)
        if done.returncode != 0:
            print(f"\nthe demo failed; the server's log is {server.log}", file=sys.stderr)
            return done.returncode
        print(f"\nThe server is at {server.url}")
        print(f"  log in:  admin@localhost, password in {server.data / 'admin-password'}")
        print(f"  API key: {server.data / 'admin-key'}")
        if args.once:
            return 0
        print("  stop:    Ctrl-C here", flush=True)
        signal.pause()
        return 0
    finally:
        server.stop()
        stop_agents(server.data / "run")
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


def stop_agents(folder):
    """Agents outlive their server on purpose; the demo's end with it. Only those of this folder."""
    for record in folder.glob("*/supervisor.json"):
        try:
            pid = json.loads(record.read_text())["pid"]
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            if str(folder).encode() in command:
                os.kill(pid, signal.SIGUSR1)
        except (OSError, ValueError, KeyError):
            continue


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"\n{' '.join(error.cmd[:6])} … ended with {error.returncode}; its own lines above say why")
