# Compiles sources that come on standard input, and runs none of them. Only what is built into the interpreter is
# imported before the current folder has left the path.
#
# Greets with a message of four lines (implementation, cache tag, version, magic number in hexadecimal). Each question is
# two messages, a path and a source; each answer is one: `c`, eight bytes of the source's hash, the code as marshal writes
# it; or `s` and why it is none. A message is its length, four bytes, lowest first, and as many bytes.
import sys

sys.path[:] = [folder for folder in sys.path if folder]

import _frozen_importlib_external as external
import _imp
import marshal

try:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_MEMORY, LARGEST_MEMORY))
except (ImportError, OSError, ValueError):
    pass


def receive():
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        sys.exit(0)
    length = int.from_bytes(head, "little")
    body = sys.stdin.buffer.read(length)
    if len(body) < length:
        sys.exit(1)
    return body


def send(body):
    sys.stdout.buffer.write(len(body).to_bytes(4, "little"))
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


magic = external.MAGIC_NUMBER
greeting = (
    sys.implementation.name,
    sys.implementation.cache_tag or "",
    "%d.%d.%d" % sys.version_info[:3],
    magic.hex(),
)
send("\n".join(greeting).encode())
key = int.from_bytes(magic, "little")
while True:
    path = receive().decode()
    source = receive()
    try:
        code = compile(source, path, "exec", 0, True, 0)
        answer = b"c" + _imp.source_hash(key, source) + marshal.dumps(code)
    except MemoryError:
        raise
    except Exception as error:
        answer = b"s" + type(error).__name__.encode()
    send(answer)
