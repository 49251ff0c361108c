"""``timewarp models``: the trained networks that are shipped, and what is known of one."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "models",
        help="list the shipped networks, or show one's card",
        description="List the shipped networks, or show one: its molecule, family, training, figures and model card.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of a shipped network, or a folder of `train`")


def run(args: argparse.Namespace) -> int:
    """List or show."""
    from .. import pretrained

    if args.name is None:
        rows = [pretrained.find(name) for name in pretrained.names()]
        width = max((len(d.name) for d in rows), default=4)
        print(f"{'name':<{width}}  family  molecule         validation acceptance")
        for d in rows:
            acceptance = d.training.get("validation_acceptance")
            shown = f"{100 * acceptance:.0f} %" if isinstance(acceptance, float) else "?"
            print(f"{d.name:<{width}}  {d.family:<6}  {d.training.get('molecule', d.residues):<15}  {shown}")
        return 0
    described = pretrained.find(args.name)
    print(f"{described.name}: family {described.family}, for {described.residues} ({described.fingerprint})")
    for key, value in {**described.config, **described.training}.items():
        print(f"  {key:<22} {value}")
    print(f"  {'weights':<22} {described.safetensors}")
    print(f"  {'sha256':<22} {described.sha256}")
    card = described.toml.with_suffix(".md")
    if card.is_file():
        print(f"\n{card.read_text(encoding='utf-8')}", end="")
    return 0
