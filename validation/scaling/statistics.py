"""Percentiles and shares."""
import math


def percentile(values, percent):
    """Linear between the two nearest of the sorted values (numpy's default); NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values):
    return percentile(values, 50)


def share(part, whole):
    """sum(part) / sum(whole); NaN of nothing."""
    total = sum(whole)
    return sum(part) / total if total > 0 else math.nan
