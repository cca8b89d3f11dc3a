"""The table of backends, from their presets."""

from __future__ import annotations

from lambent.backends import PRESETS, Preset


def address(template: str) -> str:
    """Return a template of a base URL as a reader would say it."""
    if template.startswith("{") and template.endswith("}") and template.count("{") == 1:
        return f"`{template[1:-1]}`"
    condition = ""
    if template.startswith("{?"):
        name, _, template = template[2:].partition("}")
        condition = " with a European key" if name == "european_key" else f" with `{name}`"
    for name, words in (("{region}", "<region>"), ("{suffix}", "amazonaws.com"), ("{cluster}", "<region>")):
        template = template.replace(name, words)
    return f"`{template.replace('|', ', else ')}`{condition}"


def header(name: str, template: str) -> str:
    """Return a header with its value."""
    return f"`{name}: {template}`"


def over_grpc(preset: Preset) -> str:
    """Return what takes the place of the last address over gRPC."""
    return f"<br>over gRPC {address(preset.grpc_url)}" if preset.grpc_url else ""


def table() -> str:
    """Return the table of backends."""
    rows = [
        "| `backend` | takes | address, the first that is set | headers | resource attributes |",
        "|---|---|---|---|---|",
    ]
    for name, preset in PRESETS.items():
        takes = [f"`{variable}`" for variable in preset.needs or (preset.key,)]
        if preset.signed:
            takes.append("AWS credentials")
        if not preset.needs:
            takes[0] += " (optional)"
        headers = [header(*each) for each in preset.headers.items()]
        if preset.more_headers:
            headers.append(f"those in `{preset.more_headers}`")
        if preset.signed:
            headers.append("signed (SigV4)")
        attributes = [
            f"`{attribute}` = `{str(value).strip('{}').replace('|{', ', else ')}`"
            for attribute, value in preset.attributes.items()
        ]
        cells = [
            f"**{preset.title}**<br>`{name}`",
            "<br>".join(takes),
            "<br>".join(map(address, preset.urls)) + f"<br>then `{preset.path}`" + over_grpc(preset),
            "<br>".join(headers),
            "<br>".join(attributes),
        ]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)
