"""Which of several media types a client would rather have (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence


def preferred(accept: str | None, offers: Sequence[str]) -> str | None:
    """The best of `offers` by an Accept header, the first of equals; None if none is acceptable."""
    ranges = [_range(entry) for entry in (accept or "").split(",") if entry.strip()]
    if not ranges:
        return offers[0]
    ranked = [(*_rank(offer, ranges), offer) for offer in offers]
    quality, _, best = max(ranked, key=lambda rank: rank[:2])
    return best if quality > 0 else None


def _range(entry: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return media_type, quality


def _rank(offer: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """The quality that the most specific range gives to the offer, and how specific it is."""
    family = offer.partition("/")[0]
    qualities = dict(ranges)
    for specificity, media_type in ((2, offer), (1, f"{family}/*"), (0, "*/*")):
        if media_type in qualities:
            return qualities[media_type], specificity
    return 0.0, 0
