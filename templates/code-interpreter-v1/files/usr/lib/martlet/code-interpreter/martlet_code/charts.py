"""Figures and tables as data: what a client needs to draw a chart of its own.

The shapes are those the E2B client's `charts` module reads.
"""

import datetime
import math
import re

MAX_POINTS = 20_000
MAX_CELLS = 200_000

# "Time (s)" and "Time [s]".
_UNIT = re.compile(r"\s\((.*?)\)|\[(.*?)\]")


def plain(value):
    """A value as JSON knows it; what is no number becomes text, what is not finite becomes nothing."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M" or isinstance(value, (datetime.date, datetime.datetime, datetime.time)):
        text = str(value.astype("datetime64[s]")) if kind == "M" else value.isoformat()
        return None if text == "NaT" else text
    if kind and kind in "iubf":
        return plain(value.item())
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


def data_of(frame):
    """The columns of a pandas DataFrame; nothing of one that is too large."""
    if frame.shape[0] * max(frame.shape[1], 1) > MAX_CELLS:
        return None
    return {str(name): [plain(value) for value in frame.iloc[:, i].tolist()] for i, name in enumerate(frame.columns)}


def chart_of(figure):
    """What a figure shows, or nothing if it has no axes."""
    axes = figure.get_axes()
    if not axes:
        return None
    if len(axes) == 1:
        return _axes(axes[0])
    title = figure._suptitle.get_text() if getattr(figure, "_suptitle", None) is not None else None
    return {"type": "superchart", "title": title or None, "elements": [_axes(one) for one in axes]}


def _axes(axes):
    maker = {
        "line": _lines, "scatter": _scatter, "bar": _bars, "pie": _pie, "box_and_whisker": _boxes,
    }.get(_kind(axes))
    chart = {"type": "unknown", "title": axes.get_title() or None, "elements": []}
    if maker is None:
        return chart
    try:
        maker(axes, chart)
    except Exception:
        # A figure made in ways nobody thought of is still a picture.
        return {"type": "unknown", "title": chart["title"], "elements": []}
    return chart


def _kind(axes):
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.patches import PathPatch, Rectangle, Wedge

    def all_are(artists, *types):
        return bool(artists) and all(isinstance(artist, types) for artist in artists)

    artists = [*axes.lines, *axes.collections, *axes.patches, *axes.images]
    if all_are(artists, Line2D):
        # A box plot whose boxes are not filled is made of lines only.
        return "box_and_whisker" if _is_box_of_lines(axes) else "line"
    if any(isinstance(artist, PathPatch) for artist in artists) and all_are(artists, PathPatch, Line2D):
        return "box_and_whisker"
    shown = [artist for artist in artists if not (isinstance(artist, Line2D) and _is_guide(artist))]
    if all_are(shown, PathCollection):
        return "scatter"
    if all_are(shown, Wedge):
        return "pie"
    if all_are(shown, Rectangle) and axes.containers:
        return "bar"
    return "unknown"


def _is_guide(line):
    """Whether a line only helps the eye: one straight line without a name of its own."""
    return len(line.get_xdata()) == 2 and str(line.get_label()).startswith("_")


def _is_box_of_lines(axes):
    return any(len(line.get_xdata()) == 5 and str(line.get_label()).startswith("_") for line in axes.lines) and all(
        str(line.get_label()).startswith("_") for line in axes.lines
    ) and len(axes.lines) >= 5 and len(axes.lines[0].get_xdata()) == 5


def _describe_axes(axes, chart):
    for name, label in (("x", axes.get_xlabel()), ("y", axes.get_ylabel())):
        chart[f"{name}_label"] = label or None
        match = _UNIT.search(label)
        chart[f"{name}_unit"] = (match.group(1) or match.group(2)) if match else None


def _swap_axes(chart):
    for what in ("label", "unit"):
        chart[f"x_{what}"], chart[f"y_{what}"] = chart[f"y_{what}"], chart[f"x_{what}"]


def _describe_ticks(axes, chart):
    from matplotlib import dates

    for name, axis, ticks, labels, scale in (
        ("x", axes.xaxis, axes.get_xticks(), axes.get_xticklabels(), axes.get_xscale()),
        ("y", axes.yaxis, axes.get_yticks(), axes.get_yticklabels(), axes.get_yscale()),
    ):
        texts = [label.get_text() for label in labels]
        if isinstance(axis.converter, (dates.DateConverter, dates._SwitchableDateConverter)):
            values, scale = [dates.num2date(tick).isoformat() for tick in ticks], "datetime"
        else:
            values = [plain(tick) for tick in ticks]
            if scale == "linear" and _is_categorical(values, texts):
                scale = "categorical"
        chart[f"{name}_ticks"], chart[f"{name}_tick_labels"], chart[f"{name}_scale"] = values, texts, scale


def _is_categorical(ticks, labels):
    return bool(ticks) and all(
        tick == index and label != str(index) and label != "" for index, (tick, label) in enumerate(zip(ticks, labels))
    )


def _points(pairs):
    return [(plain(x), plain(y)) for x, y in list(pairs)[:MAX_POINTS]]


def _lines(axes, chart):
    chart["type"] = "line"
    _describe_axes(axes, chart)
    _describe_ticks(axes, chart)
    lines = [line for line in axes.lines if not _is_guide(line)] or list(axes.lines)
    for line in lines:
        label = str(line.get_label())
        if label.startswith("_child"):
            label = "Line " + label[len("_child") :]
        points = _points(zip(line.get_xdata(), line.get_ydata()))
        chart["elements"].append({"label": label, "points": points})


def _scatter(axes, chart):
    chart["type"] = "scatter"
    _describe_axes(axes, chart)
    _describe_ticks(axes, chart)
    for collection in axes.collections:
        points = _points(collection.get_offsets())
        chart["elements"].append({"label": str(collection.get_label()), "points": points})


def _bars(axes, chart):
    chart["type"] = "bar"
    _describe_axes(axes, chart)
    horizontal = all(getattr(container, "orientation", None) == "horizontal" for container in axes.containers)
    if horizontal:
        _swap_axes(chart)
    labels = axes.get_yticklabels() if horizontal else axes.get_xticklabels()
    ticks = axes.get_yticks() if horizontal else axes.get_xticks()
    names = {round(float(tick), 6): label.get_text() for tick, label in zip(ticks, labels)}
    for number, container in enumerate(axes.containers):
        group = str(container.get_label())
        if group.startswith("_container"):
            group = f"Group {number}"
        for index, bar in enumerate(container):
            middle = bar.get_y() + bar.get_height() / 2 if horizontal else bar.get_x() + bar.get_width() / 2
            fallback = labels[index].get_text() if len(labels) == len(container) else f"{middle:g}"
            value = bar.get_width() if horizontal else bar.get_height()
            chart["elements"].append(
                {"label": names.get(round(float(middle), 6)) or fallback, "group": group, "value": plain(value)}
            )


def _pie(axes, chart):
    chart["type"] = "pie"
    for wedge in axes.patches:
        angle = abs(round(float(wedge.theta2 - wedge.theta1), 4))
        chart["elements"].append({"label": str(wedge.get_label()), "angle": angle, "radius": plain(wedge.r)})


def _boxes(axes, chart):
    chart["type"] = "box_and_whisker"
    _describe_axes(axes, chart)
    outlines = [patch.get_path().vertices for patch in axes.patches] or [
        line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 5
    ]
    # Boxes that stand side by side have their widths in common, not their heights.
    widths = {round(float(box[:, 0].max() - box[:, 0].min()), 6) for box in outlines}
    vertical = len(widths) == 1
    if not vertical:
        _swap_axes(chart)
    across, along = (0, 1) if vertical else (1, 0)
    ticks = axes.get_xticklabels() if vertical else axes.get_yticklabels()
    for number, box in enumerate(outlines):
        low, high = float(box[:, across].min()), float(box[:, across].max())
        first, third = float(box[:, along].min()), float(box[:, along].max())
        found = {"min": first, "first_quartile": first, "median": None, "third_quartile": third, "max": third}
        outliers = []
        for line in axes.lines:
            data = line.get_xydata()
            if len(data) == 5 and not axes.patches:
                continue
            inside = [point for point in data if low - 1e-9 <= point[across] <= high + 1e-9]
            if not len(data) or len(inside) != len(data):
                continue
            values = [float(point[along]) for point in data]
            if line.get_linestyle() in ("None", "", " "):
                outliers += [plain(value) for value in values]
            elif len(values) == 2 and values[0] == values[1] and first <= values[0] <= third:
                if data[0][across] != data[1][across]:
                    found["median"] = values[0]
            elif len(values) == 2 and max(values) <= first:
                found["min"] = min(found["min"], min(values))
            elif len(values) == 2 and min(values) >= third:
                found["max"] = max(found["max"], max(values))
        label = ticks[number].get_text() if number < len(ticks) else ""
        chart["elements"].append({"label": label or f"Box {number}", **found, "outliers": outliers})
