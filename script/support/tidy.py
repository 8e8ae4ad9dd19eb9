#!/usr/bin/env python3
"""Runs clang-tidy over translation units, many at once.

    tidy.py BUILD UNIT...    with BUILD/compile_commands.json, from the repository's root; exit 1 when anything is found

Nearly all of clang-tidy's time goes to headers, which every unit includes again. Units with the same compile command
are looked at as one that includes up to GROUP_SIZE of them: twelve cost hardly more than one. Where a group does not
compile, as its unnamed namespaces have a name in common, its units are looked at singly.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

GROUP_SIZE = 12


def command_lines(build: pathlib.Path, units: set) -> dict:
    """(folder, flags) to the units that are compiled there with these flags."""
    alike = collections.defaultdict(list)
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if entry["file"] in units:
            flags = re.sub(r" -o \S+", "", entry["command"]).replace(f" -c {entry['file']}", "")
            alike[(entry["directory"], flags)].append(entry["file"])
    return alike


def write_groups(folder: pathlib.Path, alike: dict) -> list:
    """Writes a source file for each group and the groups' compile_commands.json; gives [(file, its units)]."""
    folder.mkdir(parents=True, exist_ok=True)
    groups, database = [], []
    for (directory, flags), files in sorted(alike.items()):
        files.sort()
        for begin in range(0, len(files), GROUP_SIZE):
            units = files[begin:begin + GROUP_SIZE]
            source = folder / f"group_{len(groups):03d}.cpp"
            source.write_text("".join(f'#include "{unit}"\n' for unit in units))
            database.append({"directory": directory, "command": f"{flags} -c {source}", "file": str(source)})
            groups.append((source, units))
    (folder / "compile_commands.json").write_text(json.dumps(database, indent=1))
    return groups


def clang_tidy(*arguments: str) -> tuple:
    """(whether it is clean, what it says)."""
    done = subprocess.run(["clang-tidy", "--quiet", *arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    said = "".join(line for line in done.stdout.splitlines(True) if not line.rstrip().endswith(" generated."))
    return done.returncode == 0, said


def header_filter(root: pathlib.Path) -> str:
    """That of .clang-tidy, and the units themselves, which are included here."""
    own = re.search(r"^HeaderFilterRegex: '(.*)'$", (root / ".clang-tidy").read_text(), re.MULTILINE).group(1)
    return f"^{re.escape(str(root))}/[^.]*\\.cpp$|{own}"


def look_at(root: pathlib.Path, build: pathlib.Path, group: pathlib.Path, units: list) -> tuple:
    """As clang_tidy(), for a group."""
    clean, said = clang_tidy("-p", str(group.parent), f"--config-file={root}/.clang-tidy",
                             "--checks=-bugprone-suspicious-include", f"--header-filter={header_filter(root)}",
                             str(group))
    if clean or "[clang-diagnostic-" not in said:
        return clean, said
    found = [clang_tidy("-p", str(build), unit) for unit in units]
    return all(clean for clean, _ in found), "".join(said for _, said in found)


def main() -> int:
    root, build = pathlib.Path.cwd(), pathlib.Path(sys.argv[1]).resolve()
    units = {str((root / unit).resolve()) for unit in sys.argv[2:]}
    groups = write_groups(build / "groups", command_lines(build, units))
    print(f"tidy: {sum(len(members) for _, members in groups)} files in {len(groups)} groups", flush=True)
    status = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for looked in [pool.submit(look_at, root, build, *group) for group in groups]:
            clean, said = looked.result()
            print(said, end="", flush=True)
            status |= not clean
    return status


if __name__ == "__main__":
    sys.exit(main())
