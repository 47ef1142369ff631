"""Generate the protobuf modules of quorate.api.pb from the .proto files beside them.

python tools/gen_proto.py           write the modules
python tools/gen_proto.py --check   exit 1 if a committed module is not what its .proto gives
"""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

SRC = Path(__file__).resolve().parent.parent / "src"
PB = SRC / "quorate" / "api" / "pb"


def generate(out: Path) -> None:
    """Compile every .proto below PB into `out`; exits with protoc's code on error."""
    protos = sorted(str(path) for path in PB.glob("*.proto"))
    code = protoc.main(["protoc", f"-I{SRC}", f"--python_out={out}", f"--pyi_out={out}", *protos])
    if code:
        sys.exit(code)


def stale() -> list[str]:
    """Names of generated modules that are missing or differ from what their .proto gives."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = {path.name: path.read_bytes() for path in Path(folder, "quorate/api/pb").iterdir()}
    return sorted(name for name, data in fresh.items() if not (PB / name).exists() or (PB / name).read_bytes() != data)


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        if names := stale():
            sys.exit(f"not current, run tools/gen_proto.py: {', '.join(names)}")
    else:
        generate(SRC)
