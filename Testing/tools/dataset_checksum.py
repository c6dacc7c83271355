"""One checksum of a VerSe-style folder: of its voxels, centroids and tables, whatever the compression."""

from __future__ import annotations

import argparse
import gzip
import hashlib
from pathlib import Path


def checksum(folder: Path) -> tuple[str, int]:
    """sha256 over all files by name, .gz unpacked; and how many there are."""
    total, files = hashlib.sha256(), sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        total.update(path.relative_to(folder).as_posix().encode())
        content = path.read_bytes()
        total.update(hashlib.sha256(gzip.decompress(content) if path.suffix == ".gz" else content).digest())
    return total.hexdigest(), len(files)


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    found, files = checksum(parser.parse_args().folder)
    print(f"{found}  {files} files")


if __name__ == "__main__":
    main()
