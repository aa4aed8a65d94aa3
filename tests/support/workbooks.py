"""The smallest workbooks of Excel, and other zip archives."""

import io
import zipfile


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def workbook(*rows: list[str], unpacked: int = 0) -> bytes:
    """The least that Excel takes for a workbook; the text in rows is that of XML cells."""
    lines = "".join(f"<row>{''.join(row)}</row>" for row in rows)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    root = f'<Relationship Id="r" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
    return zipped(
        **{
            "_rels/.rels": f'<Relationships xmlns="{relations}">{root}</Relationships>'.encode(),
            "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
            '<sheet name="one" sheetId="1" r:id="rId1"/></sheets></workbook>'.encode(),
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{relations}"><Relationship '
            f'Id="rId1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/>'
            "</Relationships>".encode(),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{lines}'
            f"</sheetData></worksheet>{' ' * unpacked}".encode(),
        }
    )


def text(cell: str, value: str) -> str:
    return f'<c r="{cell}" t="inlineStr"><is><t>{value}</t></is></c>'


def number(cell: str, value: float) -> str:
    return f'<c r="{cell}"><v>{value}</v></c>'


SHEET = [
    [text("A1", "a"), text("B1", "b")],
    [number("A2", 1), number("B2", 2)],
    [number("A3", 3), number("B3", 4)],
]
