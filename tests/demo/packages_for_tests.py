"""Distributions as installers leave them on a disk, or as accidents do."""

from pathlib import Path

MIT_TEXT = """The MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files, to deal in the Software without restriction. The above copyright notice and this permission
notice shall be included in all copies or substantial portions of the Software.
"""


def install(site: Path, name: str, *headers: str, version: str = "1.0", files: dict[str, str] | None = None) -> Path:
    """Lay out a distribution in `site`; `files` by their paths relative to it. Gives its `.dist-info`."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *headers, "", "Its description."]
    (info / "METADATA").write_text("\n".join(lines), "utf-8")
    contents = {f"{name}.py": "pass\n"} if files is None else files
    for path, text in contents.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, "utf-8")
    listed = [*contents, f"{info.name}/METADATA", f"{info.name}/RECORD"]
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in listed), "utf-8")
    return info
