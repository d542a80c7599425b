"""Certificates of the lab's own authority, and what nginx serves: files, a git repository, a package index."""

import hashlib
import os
import pathlib
import re
import subprocess
import sys
import zipfile

DOWNLOAD_BYTES = 24 << 20
HTTPD_ADDRESS = "93.184.216.20"


def openssl(directory, *words):
    done = subprocess.run(["openssl", *words], cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr.strip()}")


def make_certificates(directory, names):
    """`ca.pem` signs `leaf.pem`, which has the names; `stray.pem` has the same names and is signed by itself."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    alternatives = "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
    openssl(directory, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj",
            "/CN=Lab authority", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign")
    openssl(directory, "req", *key, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=lab", "-addext",
            alternatives)
    openssl(directory, "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "30", "-copy_extensions", "copy", "-out", "leaf.pem")
    openssl(directory, "req", "-x509", *key, "-keyout", "stray.key", "-out", "stray.pem", "-days", "30", "-subj",
            "/CN=stray", "-addext", alternatives)


def make_wheel(directory):
    """A package as small as one can be, and its index page."""
    name = "lab_probe-1.0-py3-none-any.whl"
    files = {
        "lab_probe.py": "ANSWER = 42\n",
        "lab_probe-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: lab-probe\nVersion: 1.0\n",
        "lab_probe-1.0.dist-info/WHEEL":
            "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in files) + "lab_probe-1.0.dist-info/RECORD,,\n"
    folder = directory / "simple" / "lab-probe"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for path, text in {**files, "lab_probe-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(path, text)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "index.html").write_text(f'<a href="{name}#sha256={digest}">{name}</a>\n')


def make_pip(directory):
    """Debian's own pip as an archive, compiled for the Python of this host: an emulated guest takes long to do that."""
    wheel = next(pathlib.Path("/usr/share/python-wheels").glob("pip-*.whl"))
    tree = pathlib.Path(directory) / "pip"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", tree],
                   check=True, capture_output=True)
    subprocess.run(["tar", "-C", tree, "-cf", f"{directory}/pip.tar", "."], check=True)
    return f"{directory}/pip.tar"


def make_repository(directory):
    """A bare repository that plain files serve."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
                   "GIT_AUTHOR_NAME": "lab", "GIT_AUTHOR_EMAIL": "lab@ok.example", "GIT_COMMITTER_NAME": "lab",
                   "GIT_COMMITTER_EMAIL": "lab@ok.example"}

    def git(*words):
        subprocess.run(["git", *words], cwd=directory, env=environment, check=True, capture_output=True)

    git("init", "-q", "-b", "main", "work")
    (directory / "work" / "file").write_text("cloned\n")
    git("-C", "work", "add", "file")
    git("-C", "work", "commit", "-q", "-m", "One file")
    git("clone", "-q", "--bare", "work", "project.git")
    git("-C", "project.git", "update-server-info")


def make_download(directory):
    """A file that does not compress, and its digest."""
    blocks = (hashlib.sha256(number.to_bytes(8, "big")).digest() for number in range(DOWNLOAD_BYTES // 32))
    data = b"".join(blocks)
    (directory / "large.bin").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


NGINX = """
daemon off; master_process off; error_log stderr; pid {root}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
  default_type application/octet-stream;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  log_format lab '$remote_addr|$server_addr|$server_port|$ssl_server_name|$http_host|$server_protocol|$request';
  access_log {root}/access.log lab;
  ssl_certificate {root}/leaf.pem; ssl_certificate_key {root}/leaf.key;
  server {{
    listen {address}:80 reuseport; listen {address}:443 ssl http2 reuseport;
    root {root}/www; autoindex on;
    location = /protocol {{ return 200 "$server_protocol $ssl_server_name $remote_addr\\n"; }}
    location /simple/ {{ default_type text/html; }}
  }}
}}
"""


def make_site(root):
    """What nginx needs; the digest of the download."""
    www = pathlib.Path(root) / "www"
    www.mkdir()
    make_wheel(www)
    make_repository(www)
    digest = make_download(www)
    (pathlib.Path(root) / "nginx.conf").write_text(NGINX.format(root=root, address=HTTPD_ADDRESS))
    return digest


def access_entries(root):
    """What nginx was asked."""
    fields = ["src", "dst", "port", "sni", "host", "protocol", "request"]
    try:
        lines = (pathlib.Path(root) / "access.log").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [{"where": "internet", "server": "nginx", **dict(zip(fields, re.split(r"\|", line, maxsplit=6)))}
            for line in lines]
