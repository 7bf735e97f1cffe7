"""Replace the libraries under the GPL that PyAV's wheel contains: `without_gpl.py FOLDER`.

FFmpeg in that wheel is under the LGPL, but links the video encoders x264 and x265, which are
under the GPL. The analyzer only decodes audio. Each of the two libraries becomes one with the
same names whose functions return 0, which FFmpeg understands as an encoder that is absent.

FOLDER is the wheel's folder of libraries, `av.libs`. The image has no compiler, so this program
writes the ELF files itself, for amd64 and arm64.
"""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

GPL_LIBRARIES = re.compile(r"lib(x26[45])-[0-9a-f]+\.so\.\d+")
LARGEST_STUB_BYTES = 8192

# The instructions that return 0, by the number of the machine in the ELF header.
_RETURN_ZERO = {
    62: bytes.fromhex("31c0c3"),  # amd64: xor eax, eax; ret
    183: bytes.fromhex("000080d2c0035fd6"),  # arm64: mov x0, 0; ret
}
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
# A multiple of the page size of both machines.
_PAGE = 0x10000
_LOAD, _DYNAMIC, _STACK = 1, 2, 0x6474E551
_READ, _READ_WRITE, _READ_EXECUTE = 4, 6, 5


def main(folder: Path) -> None:
    """Replace the libraries. Exits with a message unless both are found."""
    (codecs,) = folder.glob("libavcodec-*")
    replaced = []
    for path in sorted(folder.iterdir()):
        if match := GPL_LIBRARIES.fullmatch(path.name):
            symbols = symbols_of(codecs.read_bytes(), match[1])
            content = stub(path.name, symbols, machine_of(path.read_bytes()))
            # The file may be shared with other installations by a hard link.
            path.unlink()
            path.write_bytes(content)
            path.chmod(0o755)
            replaced.append(match[1])
    if replaced != ["x264", "x265"]:
        sys.exit(f"Expected x264 and x265 in {folder}, found {replaced}: check PyAV's wheel.")


def symbols_of(user: bytes, library: str) -> list[str]:
    """The names of a library that occur in the strings of the file that uses it."""
    names = re.findall(rb"\0(" + library.encode() + rb"_[a-z0-9_]+)(?=\0)", user)
    return sorted({name.decode() for name in names})


def machine_of(library: bytes) -> int:
    """The number of the machine in an ELF header."""
    return int(_HEADER.unpack_from(library)[2])


def stub(name: str, symbols: list[str], machine: int) -> bytes:
    """A shared library in which every symbol is a function that returns 0."""
    strings = b"\0" + b"".join(each.encode() + b"\0" for each in (*symbols, name))
    count = len(symbols) + 1
    hashes_at = _HEADER.size + 4 * _SEGMENT.size
    symbols_at = hashes_at + 4 * (3 + count) + (-4 * (3 + count)) % 8
    strings_at = symbols_at + _SYMBOL.size * count
    code_at = strings_at + len(strings) + -len(strings) % 16
    dynamic_at = code_at + 16
    table = _symbol_table(symbols, strings, code_at)
    # One bucket, whose chain has all symbols.
    chain = [1, count, 1 if symbols else 0, 0, *range(2, count), 0][: 3 + count]
    dynamic = _dynamic(hashes_at, symbols_at, strings_at, strings, name)
    end = dynamic_at + len(dynamic)
    segments = (
        (_LOAD, _READ_EXECUTE, 0, 0, dynamic_at),
        (_LOAD, _READ_WRITE, dynamic_at, _PAGE + dynamic_at, len(dynamic)),
        (_DYNAMIC, _READ_WRITE, dynamic_at, _PAGE + dynamic_at, len(dynamic)),
        (_STACK, _READ_WRITE, 0, 0, 0),
    )
    parts = (
        (0, _elf_header(machine) + b"".join(_segment(*each) for each in segments)),
        (hashes_at, struct.pack(f"<{len(chain)}I", *chain)),
        (symbols_at, table),
        (strings_at, strings),
        (code_at, _RETURN_ZERO[machine]),
        (dynamic_at, dynamic),
    )
    image = bytearray(end)
    for start, part in parts:
        image[start : start + len(part)] = part
    return bytes(image)


def _elf_header(machine: int) -> bytes:
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    shared, no_entry, no_sections = 3, 0, 0
    sizes = (_HEADER.size, _SEGMENT.size, 4, 64, 0, 0)
    return _HEADER.pack(ident, shared, machine, 1, no_entry, _HEADER.size, no_sections, 0, *sizes)


def _segment(kind: int, flags: int, offset: int, address: int, size: int) -> bytes:
    alignment = {_LOAD: _PAGE, _STACK: 16}.get(kind, 8)
    return _SEGMENT.pack(kind, flags, offset, address, address, size, size, alignment)


def _symbol_table(symbols: list[str], strings: bytes, code_at: int) -> bytes:
    global_function, defined, size = 0x12, 1, 0
    places = (strings.index(b"\0" + each.encode() + b"\0") + 1 for each in symbols)
    entries = [_SYMBOL.pack(place, global_function, 0, defined, code_at, size) for place in places]
    return bytes(_SYMBOL.size) + b"".join(entries)


def _dynamic(hashes_at: int, symbols_at: int, strings_at: int, strings: bytes, name: str) -> bytes:
    soname = strings.index(b"\0" + name.encode() + b"\0") + 1
    # DT_SONAME, DT_HASH, DT_SYMTAB, DT_STRTAB, DT_STRSZ, DT_SYMENT, DT_NULL.
    entries = (
        (14, soname),
        (4, hashes_at),
        (6, symbols_at),
        (5, strings_at),
        (10, len(strings)),
        (11, _SYMBOL.size),
        (0, 0),
    )
    return b"".join(struct.pack("<QQ", *entry) for entry in entries)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
