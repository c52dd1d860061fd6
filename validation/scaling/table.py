"""One table in several forms: a list of rows (dict by column name) as CSV, as HDF5 datasets by column, as text."""
import csv
import dataclasses
import math

import h5py
import numpy


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    kind: str  # "text", "integer" or "real"; a real that is not known is NaN
    unit: str
    meaning: str
    title: str = ""  # of the text form; none: left out there
    format: str = ""


def csv_cell(column, value):
    if column.kind == "real":
        return "" if math.isnan(value) else repr(float(value))
    return value


def write_csv(path, columns, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in columns])
        writer.writerows([csv_cell(column, row[column.name]) for column in columns] for row in rows)


def write_hdf5(path, columns, rows, attributes):
    types = {"text": h5py.string_dtype(), "integer": numpy.int64, "real": numpy.float64}
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for column in columns:
            data = numpy.array([row[column.name] for row in rows], types[column.kind])
            dataset = file.create_dataset(column.name, data=data, dtype=types[column.kind])
            dataset.attrs["units"] = column.unit
            dataset.attrs["what"] = column.meaning


def text_cell(column, value):
    width = int("".join(filter(str.isdigit, column.format.split(".")[0])))
    if column.kind == "real" and math.isnan(value):
        return "-".rjust(width)
    return format(value, column.format)


def text_lines(columns, rows):
    """Fixed width: a head line, then one line per row."""
    shown = [column for column in columns if column.format]
    body = [[text_cell(column, row[column.name]) for column in shown] for row in rows]
    widths = [len(text) for text in body[0]] if body else [len(column.title) for column in shown]
    head = [column.title.ljust(width) if column.kind == "text" else column.title.rjust(width)
            for column, width in zip(shown, widths)]
    return ["  ".join(line).rstrip() for line in [head, *body]]
