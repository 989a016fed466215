"""The tags and attributes of MJML 4, because the compiler passes over any other without a word."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EVERYWHERE = _words("css-class mj-class")
_PADDING = _words("padding padding-top padding-right padding-bottom padding-left")
_INNER = _words("inner-padding inner-padding-top inner-padding-right inner-padding-bottom inner-padding-left")
_BORDER = _words("border border-top border-right border-bottom border-left border-radius")
_FONT = _words(
    "color font-family font-size font-style font-weight letter-spacing line-height text-align text-decoration "
    "text-transform"
)
_BACKGROUND = _words(
    "background-color background-url background-repeat background-size background-position background-position-x "
    "background-position-y"
)
_LINK = _words("href rel target title name")

_BODY: Mapping[str, frozenset[str]] = {
    "mj-body": _words("background-color width"),
    "mj-wrapper": _PADDING | _BORDER | _BACKGROUND | _words("full-width text-align gap"),
    "mj-section": _PADDING | _BORDER | _BACKGROUND | _words("full-width text-align direction"),
    "mj-group": _words("background-color direction vertical-align width"),
    "mj-column": _PADDING
    | _BORDER
    | _words(
        "background-color inner-background-color direction vertical-align width inner-border inner-border-top "
        "inner-border-right inner-border-bottom inner-border-left inner-border-radius"
    ),
    "mj-text": _PADDING | _FONT | _words("align container-background-color height vertical-align"),
    "mj-button": _PADDING
    | _BORDER
    | _FONT
    | _LINK
    | _words("align background-color container-background-color height inner-padding text-align vertical-align width"),
    "mj-image": _PADDING
    | _BORDER
    | _LINK
    | _words(
        "align alt container-background-color fluid-on-mobile height max-height sizes src srcset usemap width "
        "font-size vertical-align"
    ),
    "mj-divider": _PADDING
    | _words("align border-color border-style border-width container-background-color width height"),
    "mj-spacer": _PADDING | _words("container-background-color height vertical-align"),
    "mj-table": _PADDING
    | _FONT
    | _words("align border cellpadding cellspacing container-background-color role table-layout vertical-align width"),
    "mj-raw": _words("position"),
    "mj-hero": _PADDING
    | _BACKGROUND
    | _words(
        "mode height width align background-height background-width border-radius container-background-color "
        "inner-background-color vertical-align"
    )
    | _INNER,
    "mj-social": _PADDING
    | _FONT
    | _INNER
    | _words(
        "align border-radius container-background-color icon-height icon-size icon-padding mode table-layout "
        "text-padding vertical-align"
    ),
    "mj-social-element": _PADDING
    | _FONT
    | _LINK
    | _words(
        "align alt background-color border-radius icon-height icon-size icon-padding icon-position src srcset sizes "
        "text-padding vertical-align"
    ),
    "mj-navbar": _words("align base-url hamburger")
    | _PADDING
    | _words(
        "ico-align ico-close ico-color ico-font-family ico-font-size ico-line-height ico-open ico-padding "
        "ico-padding-bottom ico-padding-left ico-padding-right ico-padding-top ico-text-decoration ico-text-transform"
    ),
    "mj-navbar-link": _PADDING | _FONT | _LINK,
    "mj-accordion": _PADDING
    | _words(
        "border container-background-color font-family icon-align icon-height icon-position icon-unwrapped-alt "
        "icon-unwrapped-url icon-width icon-wrapped-alt icon-wrapped-url"
    ),
    "mj-accordion-element": _words(
        "background-color border font-family icon-align icon-height icon-position icon-unwrapped-alt "
        "icon-unwrapped-url icon-width icon-wrapped-alt icon-wrapped-url"
    ),
    "mj-accordion-title": _PADDING | _FONT | _words("background-color"),
    "mj-accordion-text": _PADDING | _FONT | _words("background-color"),
    "mj-carousel": _words(
        "align background-color border-radius container-background-color icon-width left-icon right-icon tb-border "
        "tb-border-radius tb-hover-border-color tb-selected-border-color tb-width thumbnails"
    )
    | _PADDING,
    "mj-carousel-image": _LINK | _words("alt src thumbnails-src border-radius tb-border tb-border-radius"),
}
_HEAD: Mapping[str, frozenset[str]] = {
    "mjml": _words("lang dir owa version"),
    "mj-head": frozenset(),
    "mj-attributes": frozenset(),
    "mj-breakpoint": _words("width"),
    "mj-font": _words("name href"),
    "mj-preview": frozenset(),
    "mj-style": _words("inline"),
    "mj-title": frozenset(),
}
ATTRIBUTES: Mapping[str, frozenset[str]] = {
    **_HEAD,
    **{tag: attributes | _EVERYWHERE for tag, attributes in _BODY.items()},
}
# in mj-attributes stand defaults: any attribute of any tag for these two
DEFAULTS: Mapping[str, frozenset[str]] = {
    "mj-all": frozenset().union(*_BODY.values()),
    "mj-class": frozenset().union(*_BODY.values()) | {"name"},
}
# What stands inside these is HTML (or CSS, or text), and is not looked at as MJML.
HTML_INSIDE = _words(
    "mj-text mj-button mj-table mj-raw mj-style mj-title mj-preview mj-navbar-link mj-social-element "
    "mj-accordion-title mj-accordion-text"
)
REFUSED: Mapping[str, str] = {
    "mj-include": 'use {% include "_partial.mjml" %}: what mj-include brings loses its width',
    "mj-html-attributes": "mj-html-attributes is not supported",
    "mj-selector": "mj-html-attributes is not supported",
    "mj-html-attribute": "mj-html-attributes is not supported",
}
