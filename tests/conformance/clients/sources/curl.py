"""Has one curl send all of a manifest's requests: `curl.py [CURL'S OPTIONS] -- BASE MANIFEST ANSWERS`."""

import subprocess
import sys
from pathlib import Path

place = sys.argv.index("--")
options, (base, manifest, answers) = sys.argv[1:place], sys.argv[place + 1 :]
command = ["curl"]
for number, line in enumerate(Path(manifest).read_text().splitlines()):
    name, method, path, file, how, *headers = line.split("\t")
    command += ["--next"] if number else []
    command += ["-sS", "-m", "30", *options, "-w", f"{name}\\t%{{http_code}}\\n", "-o", f"{answers}/{name}"]
    command += ["-I"] if method == "HEAD" else []
    command += ["--data-binary", f"@{file}"] if file else []
    command += ["-H", "Transfer-Encoding: chunked"] if how == "chunked" else []
    for header in headers:
        command += ["-H", header]
    command.append(base + path)
status = subprocess.run(command, check=False).returncode
# -I writes the head where a body would be.
(Path(answers) / "head").write_bytes(b"")
sys.exit(status)
