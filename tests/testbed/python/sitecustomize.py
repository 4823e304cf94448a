# GNU General Public License v3.0+ (see LICENSE)
"""Save CPU time, only in tests: keep the compiled code of archives, as Python does with files, and collect garbage less often.

Ansible sends a module to its host as an archive, with its own code in it, and Python compiles all of that for each task: 0.2 of the
0.5 CPU seconds of a short one (ansible-core 2.19, Python 3.11). Python imports this file at each start: in a testbed's hosts, where the
image has it, and in what the tests start on this machine, by PYTHONPATH (tests/run.py).
"""

import gc
import hashlib
import marshal
import os
import sys
import zipimport
from types import CodeType

# Hosts let only root write there.
FOLDER = os.environ.get("GROUNDWORK_COMPILED", "/var/cache/groundwork-compiled")
# Private, but the only place through which code of an archive goes before it runs.
_compile = vars(zipimport)["_compile_source"]


def _compile_once(pathname: str, source: bytes, *more: object) -> CodeType:
    """What zipimport's own function returns, from a file that is named after the text and the Python that compiled it."""
    file = os.path.join(FOLDER, f"{hashlib.sha256(source).hexdigest()}.{sys.implementation.cache_tag}")
    try:
        with open(file, "rb") as kept:
            code: CodeType = marshal.load(kept)
            return code
    except (OSError, EOFError, ValueError):
        code = _compile(pathname, source, *more)
    if os.access(FOLDER, os.W_OK):
        with open(f"{file}.{os.getpid()}", "wb") as new:
            marshal.dump(code, new)
        os.replace(new.name, file)
    return code


vars(zipimport)["_compile_source"] = _compile_once

# Ansible keeps many objects, and each collection looks through them: without this line the preflight playbook on the example inventory
# takes 53 instead of 47 CPU seconds (ansible-core 2.19, Python 3.11).
gc.set_threshold(100_000, 50, 100)
