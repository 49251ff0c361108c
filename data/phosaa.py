"""Make the force-field files of phosphorylated residues from those of openmmforcefields.

openmmforcefields 0.15.1 (MIT licence, https://pypi.org/project/openmmforcefields) has AmberTools' leaprc.phosaa14SB and
leaprc.phosaa19SB as XML, for its own files of ff14SB and ff19SB. OpenMM's amber14/protein.ff14SB.xml calls its types
``protein-X`` and has no phosphorus; and both lack terms of AmberTools' parm10.dat between phosphorus and the histidine
ring, since these are written with types that only the phosphorylated residues have. They are added here.

    python data/phosaa.py FOLDER_WITH_THE_TWO_XML src/timewarp/molecules/data
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

NOTE = """
    Phosphorylated residues of AMBER for OpenMM's {protein}: {stem}
    (Raguette et al., J. Chem. Theory Comput. 20, 7199 (2024)).
    Made by data/phosaa.py from ffxml/amber/{stem}.xml of openmmforcefields 0.15.1 (MIT licence), which was made from
    AmberTools 24.8; the terms marked below are from its parm10.dat. AmberTools' licence: "The force field parameter
    files in the dat/leap subdirectory have been placed in the public domain by their authors."
  """
PHOSPHORUS = """<All>
<Type element="P" name="P" class="P" mass="30.97"/>
<Atom class="P" sigma="0.3741775346" epsilon="0.8368"/>
<Bond class1="NA" class2="P" length="0.184" k="209200.0"/>
<Angle class1="CC" class2="NA" class3="P" angle="2.1834068942449063" k="641.8256"/>
<Angle class1="CR" class2="NA" class3="P" angle="2.1834068942449063" k="641.8256"/>
<Proper class1="" class2="NA" class3="P" class4="" periodicity1="3" phase1="0.0" k1="0.0"/>
<Improper class1="NA" class2="CC" class3="CR" class4="P" periodicity1="2" phase1="3.141592653589793" k1="4.6024"/>
</All>"""
"""Of parm10.dat; OpenMM's amber19/protein.ff19SB.xml has them."""
BOTH = """<All>
<Angle class1="NA" class2="P" class3="OP" angle="1.7868680881917944" k="358.9872"/>
</All>"""
"""Of parm10.dat (NA-P-OP, 42.9 kcal/(mol rad^2), 102.38 degrees), which neither file has."""
SECTIONS = {
    "Type": "AtomTypes",
    "Atom": "NonbondedForce",
    "Bond": "HarmonicBondForce",
    "Angle": "HarmonicAngleForce",
    "Proper": "PeriodicTorsionForce",
    "Improper": "PeriodicTorsionForce",
}


def prefixed(name: str) -> str:
    """A type by the name that OpenMM's file gives it."""
    return name if not name or name.startswith(("protein-", "cmap-")) else f"protein-{name}"


def convert(source: Path, protein: str, additions: tuple[str, ...]) -> str:
    """The XML text for one of OpenMM's protein files."""
    root = ElementTree.parse(source).getroot()
    for text in additions:
        for element in ElementTree.fromstring(text):
            section = root.find(SECTIONS[element.tag])
            section.append(ElementTree.Comment(" parm10.dat "))
            section.append(element)
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        renamed = {}
        for key, value in element.attrib.items():
            if key == "type" or (element.tag == "Type" and key in ("name", "class")):
                renamed[key] = prefixed(value)
            elif key.startswith("class") and element.tag != "Type":
                renamed[key.replace("class", "type")] = prefixed(value)
            else:
                renamed[key] = value
        element.attrib.clear()
        element.attrib.update(renamed)
    if protein.endswith("ff19SB.xml"):  # one class stands for many types there, those of CMAP
        for section in root:
            if section.tag.endswith("Force") and section.tag != "CMAPTorsionForce":
                for element in (e for e in section.iter() if isinstance(e.tag, str)):
                    for key in [key for key in element.attrib if key.startswith("type")]:
                        element.set(key.replace("type", "class"), element.attrib.pop(key))
    root.insert(0, ElementTree.Comment(NOTE.format(protein=protein, stem=source.stem)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def main() -> None:
    """Write both files."""
    given, out = Path(sys.argv[1]), Path(sys.argv[2])
    for stem, protein, additions in (
        ("phosaa14SB", "amber14/protein.ff14SB.xml", (PHOSPHORUS, BOTH)),
        ("phosaa19SB", "amber19/protein.ff19SB.xml", (BOTH,)),
    ):
        (out / f"{stem}.xml").write_text(convert(given / f"{stem}.xml", protein, additions))


if __name__ == "__main__":
    main()
