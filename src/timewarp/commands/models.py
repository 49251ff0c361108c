"""``timewarp models``: the trained networks that are shipped, and what is known of one."""

from __future__ import annotations

from dataclasses import asdict

from .parser import Argument, Call, Result, Verb


def run(call: Call) -> Result:
    """List the networks, or show one."""
    from .. import pretrained

    name = call.arguments["name"]
    if name is None:
        rows = [pretrained.find(name) for name in pretrained.names()]
        width = max((len(d.name) for d in rows), default=4)
        lines = [f"{'name':<{width}}  family  molecule         validation acceptance"]
        for d in rows:
            acceptance = d.training.get("validation_acceptance")
            shown = f"{100 * acceptance:.0f} %" if isinstance(acceptance, float) else "?"
            lines.append(f"{d.name:<{width}}  {d.family:<6}  {d.training.get('molecule', d.residues):<15}  {shown}")
        return Result("\n".join(lines), {"models": [_plain(d) for d in rows]})
    found = pretrained.find(name)
    lines = [f"{found.name}: family {found.family}, for {found.residues} ({found.fingerprint})"]
    lines += [f"  {key:<22} {value}" for key, value in {**found.config, **found.training}.items()]
    lines += [f"  {'weights':<22} {found.safetensors}", f"  {'sha256':<22} {found.sha256}"]
    card = found.toml.with_suffix(".md")
    if card.is_file():
        lines += ["", card.read_text(encoding="utf-8").rstrip()]
    return Result("\n".join(lines), _plain(found))


def _plain(described) -> dict:
    return {key: str(value) if key == "toml" else value for key, value in asdict(described).items()}


VERB = Verb(
    help="list the shipped networks, or show one's card",
    description="List the shipped networks, or show one: its molecule, family, training, figures and model card.",
    run=run,
    arguments=(Argument("name", "name of a shipped network, or a folder of `train`", "NAME", nargs="?"),),
    has_progress=False,
)
