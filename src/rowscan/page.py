"""Page: from a photo or scan of numbers to lines of ink. Sees no model and opens no file.

The steps stand in the order in which `find_lines` takes them, each a function that can be called
by itself. Lengths are pixels of the reduced picture, and most follow from two measures of the
writing itself: how thick the pen is, and how high the digits are.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, Shaped, UInt8

from rowscan.errors import DataError
from rowscan.scans import LINE_HEIGHT

Sheet = UInt8[np.ndarray, "height width *channels"]
"""A picture: grey levels, or red, green and blue."""

Contrast = UInt8[np.ndarray, "height width"]
"""How far each pixel stands out from the paper, 0 (paper) to 192 (black on white)."""

Mask = UInt8[np.ndarray, "height width"]
"""1 where something is, else 0."""

Affine = Float64[np.ndarray, "2 3"]
"""Takes (x, y, 1) to another (x, y). Coordinates count from the corner of the first pixel, whose
centre therefore is (0.5, 0.5)."""

DIGIT_HEIGHT = 24
"""Rows that the digits of a line fill: the median height of its patches, weighted by their area.
Above and below is room for a long 1 or 7; where it is too little, the whole line is smaller."""

MAX_WIDTH = 4096
"""Columns of a line of ink; a longer line is made smaller."""

ENOUGH = 3_000_000
"""Pixels of a picture that are looked at: A4 at 170 dpi, where digits 4 mm high have 27 rows."""

_MARGIN = 4  # columns without ink before and after a line
_COARSE_AREA = 96 * 96  # light and paper are followed on so many pixels
_WHITE = 192  # paper when the light is divided out; what is lighter finds room above it
_FAINTEST = 14  # ink that stands out by fewer of these levels is none
_PEN = 4.0  # pixels; thicker strokes make everything slower and say no more
_THINNEST = 1.8  # pixels: strokes of a line of ink are no thinner
_LOWEST = 5  # a digit of fewer rows cannot be read
_MAX_ANGLE = 15.0  # degrees; looked at, so that ten can be found
_LEAST_ANGLE = 0.5  # degrees; less is not worth resampling the picture
_MAX_PATCHES = 4000  # the largest are looked at,
_MAX_HIGH = 1000  # and of those that may be digits, so many
_LEAST_PLAUSIBLE = 0.15


@dataclass(frozen=True, eq=False)
class Line:
    """One line of writing, brought to a fixed height.

    Attributes:
        ink: 0 is paper, 255 is ink; the digits are about 24 rows high.
        box: x, y, width and height in pixels of the picture that was given.
        to_image: takes columns and rows of `ink` to pixels of that picture.
        plausibility: 0 to 1; how much this looks like the writing that is meant, beside what else
            is in the picture: high enough, not cut by the border. No model has looked at it.
    """

    ink: UInt8[np.ndarray, "32 width"]
    box: tuple[int, int, int, int]
    to_image: Affine
    plausibility: float

    def box_of(self, start: float | int, stop: float | int) -> tuple[int, int, int, int]:
        """X, y, width and height, in pixels of the picture, of the ink between two columns."""
        first = min(max(math.floor(start), 0), self.ink.shape[1] - 1)
        part = self.ink[:, first : max(math.ceil(stop), first + 1)]
        rows = np.flatnonzero((part > 127).any(1))
        top, bottom = (rows[0], rows[-1] + 1) if rows.size else (0, LINE_HEIGHT)
        x, y, width, height = self.box
        corners = np.array([start, top, stop, bottom], float)
        return _box(self.to_image, corners, (x, y, x + width, y + height))


def find_lines(image: Sheet, size: tuple[int, int] | None = None) -> list[Line]:
    """The lines of writing in a picture, from top to bottom and from left to right.

    Args:
        image: (height, width) of grey or (height, width, 3) of red, green and blue, upright; the
            ink may be darker or lighter than the paper.
        size: width and height of the picture that this is a reduced copy of: boxes are in its
            pixels.

    Returns:
        A `Line` for each; none if there is no writing. Other things may be among them, such as
        words or a blot: `plausibility` says something, a line model can say more.

    Raises:
        DataError: a picture without pixels.
    """
    if image.size == 0:
        raise DataError("image: it has no pixels")
    sheet = dark_on_light(reduce(image))
    contrast, noise = stand_out(sheet, background(sheet))
    strokes = without_edges(find_strokes(contrast, noise))
    contrast, strokes, pen = with_thin_pen(contrast, strokes)
    strokes, fences = without_rules(strokes, pen)
    patches = find_patches(strokes, pen)
    width, height = size or (image.shape[1], image.shape[0])
    scale = np.divide((height, width), contrast.shape)
    to_image = np.array([[scale[1], 0, 0], [0, scale[0], 0]])
    turn, shape = level(contrast.shape, find_angle(patches))
    if shape != contrast.shape:
        contrast = cv2.warpAffine(contrast, _to_centres(turn), shape[::-1])
        strokes, fences = (
            cv2.warpAffine(mask, _to_centres(turn), shape[::-1], flags=cv2.INTER_NEAREST)
            for mask in (strokes, fences)
        )
        patches = find_patches(strokes, pen)
        to_image = _after(to_image, cv2.invertAffineTransform(turn))
    limits = (0, 0, width, height)
    rows = find_rows(patches, fences, pen)
    return [
        cut_out(row, patches, contrast, pen=pen, to_image=to_image, limits=limits) for row in rows
    ]


def reduce(image: Sheet) -> UInt8[np.ndarray, "rows columns *channels"]:
    """The picture with at most three megapixels: more take time and say no more of a digit."""
    factor = math.sqrt(ENOUGH / (image.shape[0] * image.shape[1]))
    return image if factor >= 1 else _resize(image, factor)


def dark_on_light(sheet: Sheet) -> Sheet:
    """The picture, or its negative if the ink is lighter than the paper.

    Ink is what is rare: it leaves the paper around it, which is the median of the surroundings, to
    one side only, while paper leaves it to both. So the squared distances from the median, with
    their signs, add up to the side of the ink. The border of the picture counts twice, for it is
    paper more often than not.
    """
    grey = _coarse(sheet)
    if grey.ndim == 3:
        grey = cv2.transform(grey, np.full((1, 3), 1 / 3))
    distance = grey.astype(np.float32) - cv2.medianBlur(grey, _window(grey))
    distance = np.clip(distance, -60, 60)  # the black around a page must not outweigh the ink
    squares = distance * np.abs(distance)
    border = np.concatenate([squares[0], squares[-1], squares[:, 0], squares[:, -1]])
    return 255 - sheet if squares.mean() + border.mean() > 0 else sheet


def background(sheet: Sheet) -> Sheet:
    """The picture as it would be without ink: each channel's median over a wide window.

    The median follows light and shadow, and leaves the edge of a page or a shadow where it is. It
    is taken twice: what is much darker than the first is covered with it before the second, so
    that paper does not darken where the writing is dense.
    """
    small = _coarse(sheet)
    window = _window(small)
    first = cv2.medianBlur(small, window)
    covered = np.where(small < 0.85 * first, first, small)
    return _resize(cv2.medianBlur(covered, window), size=(sheet.shape[1], sheet.shape[0]))


def stand_out(sheet: Sheet, paper: Sheet) -> tuple[Contrast, float]:
    """How far each pixel stands out from the paper, and how uneven the paper itself is.

    Light multiplies, so the paper is divided out. A channel weighs the more, the more the ink
    changes it; so blue ink on yellow paper keeps its contrast. The unevenness, a standard
    deviation, is measured on the side where no ink is, among what is lighter than the paper.
    """
    floor = max(1, int(paper.max()) // 4)  # what is black all around holds nothing but noise
    flat = cv2.divide(sheet, np.maximum(paper, floor), scale=_WHITE)
    if flat.ndim == 3:
        some = flat[:: len(flat) // 64 + 1, :: flat.shape[1] // 64 + 1].reshape(-1, 3)
        weights = (np.maximum(_WHITE - some.astype(float), 0) ** 3).sum(0) + 1
        flat = cv2.transform(flat, (weights / weights.sum())[None])
    lighter = np.cumsum(cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel()[_WHITE:])
    noise = 1.5 * float(np.searchsorted(lighter, lighter[-1] / 2))  # 1.4826 for a Gaussian
    return _WHITE - np.minimum(flat, _WHITE), noise


def find_strokes(contrast: Contrast, noise: float) -> Mask:
    """Where there is ink: at least two fifths as black as the blackest place of its patch.

    A patch is what hangs together above the noise, and its blackest place must stand out clearly.
    So a faint line is found beside a black one, and a printed pattern that a stroke crosses, black
    enough by itself, does not come along with the stroke.
    """
    above = (contrast > max(1.5 * noise, 0.7 * _FAINTEST)).astype(np.uint8)
    count, labels = cv2.connectedComponents(above, connectivity=8)
    at = np.flatnonzero(above)
    patch: Int32[np.ndarray, " n"] = labels.ravel()[at]
    blackest = np.zeros(count, np.float32)
    np.maximum.at(blackest, patch, cv2.blur(contrast, (3, 3)).ravel()[at])
    blackest[blackest < max(_FAINTEST, 2.5 * noise)] = np.inf
    strokes = np.zeros(contrast.size, np.uint8)
    strokes[at] = contrast.ravel()[at] > 0.4 * blackest[patch]
    return strokes.reshape(contrast.shape)


def without_edges(strokes: Mask) -> Mask:
    """The strokes without what lies around the page: solid areas along a side of the picture.

    Solid is what a square of an eighth of the picture fits into, along is at least half of the
    side. What lies close beside goes with it, such as the fold of a book. If nothing remains, and
    no side was covered all along, it was a fat digit that fills the picture, and all is kept.
    """
    side = max(6, min(strokes.shape) // 8)
    square = np.ones((side, side), np.uint8)
    # A black area goes on outside the picture, so a narrow strip at the border is solid, too.
    solid = cv2.dilate(cv2.erode(strokes, square, borderValue=1), square)
    count, labels = cv2.connectedComponents(solid, connectivity=8)
    borders = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    share = np.max([np.bincount(part, minlength=count) / part.size for part in borders], axis=0)
    share[0] = 0
    if share.max() < 0.5:
        return strokes
    edge = (share >= 0.5)[labels].astype(np.uint8)
    rim = cv2.dilate(edge, np.ones((side // 2 | 1, side // 2 | 1), np.uint8))
    page = strokes & (1 - rim)
    near = cv2.dilate(edge, np.ones((2 * side + 1, 2 * side + 1), np.uint8)) > 0
    count, labels = cv2.connectedComponents(page, connectivity=8)
    beside = 2 * np.bincount(labels[near], minlength=count) > np.bincount(labels.ravel())
    page[beside[labels]] = 0
    return page if page.any() or share.max() > 0.9 else strokes


def with_thin_pen(
    contrast: Contrast, strokes: Mask
) -> tuple[
    UInt8[np.ndarray, "rows columns"],
    UInt8[np.ndarray, "rows columns"],
    float,
]:
    """Both, made smaller where the pen is thick, and how thick the pen then is.

    A digit shows all that it has with strokes of four pixels, be it 30 or 800 pixels high.
    """
    pen = pen_width(strokes)
    if pen <= _PEN:
        return contrast, strokes, pen
    smaller = (_resize(255 * strokes, _PEN / pen) > 127).astype(np.uint8)
    return _resize(contrast, _PEN / pen), smaller, _PEN


def pen_width(strokes: Mask) -> float:
    """How thick the strokes are, in pixels; 1 if there are none.

    Over a stroke of width w the distance to the nearest paper is w / 4 + 1/2 on average.
    """
    framed = cv2.copyMakeBorder(strokes, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)[framed > 0]
    if not distance.size:
        return 1.0
    usual = distance[distance <= 3 * np.median(distance)]  # a blot tells nothing of the pen
    return max(1.0, 4 * float(usual.mean()) - 2)


def without_rules(strokes: Mask, pen: float) -> tuple[Mask, Mask]:
    """The strokes without ruled lines and frames; and those of these that part one from another.

    A rule is thin, straight, and nearly level or upright. Either it is far longer than a digit is
    high, or it is the side of a frame: somewhat longer than that, and at both ends it meets what
    may be a rule of the other direction; around a single digit it may even be shorter, if it and
    its three neighbours close a box that is higher than a digit. Where a stroke crosses a rule,
    the stroke is kept.
    """
    size = _digit_height(strokes, pen)
    turned = np.ascontiguousarray(strokes.T)
    sides = _straight(strokes, pen, 0.6 * size)
    posts = _straight(turned, pen, 1.05 * size)
    boxed = [r for r in sides if _meets(r, _mark(posts, turned).T, pen)]
    posted = [r for r in posts if _meets(r, _mark(boxed, strokes).T, pen)]
    boxed = [r for r in boxed if _meets(r, _mark(posted, turned).T, pen)]
    long_sides, long_posts = (
        [r for r in some if r.length >= 1.2 * size] for some in (sides, posts)
    )
    flat_marks, upright_marks = _mark(long_sides, strokes), _mark(long_posts, turned)
    flat = boxed + [
        r for r in long_sides if r.length >= 2.5 * size or _meets(r, upright_marks.T, pen)
    ]
    upright = posted + [
        r for r in long_posts if r.length >= 3 * size or _meets(r, flat_marks.T, pen)
    ]
    rest = np.ascontiguousarray(_erase(flat, strokes).T)
    rest &= _erase(upright, turned)
    fences = _without_combs(upright, 1.5 * size)
    return np.ascontiguousarray(rest.T), np.ascontiguousarray(_mark(fences, turned).T)


@dataclass(frozen=True, eq=False)
class _Rule:
    """A rule along the rows: the corner of its box, its pixels in the box, its mean thickness."""

    left: int
    top: int
    pixels: UInt8[np.ndarray, "rows length"]
    thickness: float

    @property
    def length(self) -> int:
        return int(self.pixels.shape[1])


def _digit_height(strokes: Mask, pen: float) -> float:
    """A first guess, while rules may still hold everything together: without long runs."""
    rest = strokes & ~(_open(strokes, 1, round(14 * pen)) | _open(strokes, round(28 * pen), 1))
    rest = rest if rest.any() else strokes
    _, _, boxes, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    heights, areas = boxes[1:, cv2.CC_STAT_HEIGHT], boxes[1:, cv2.CC_STAT_AREA]
    # Specks, small print, and sides of frames say nothing of the digits.
    high = (heights >= 4 * pen) & (boxes[1:, cv2.CC_STAT_WIDTH] > 2 * pen)
    high = high if high.any() else heights > 0
    return _middle(heights[high], areas[high]) if high.any() else 1.0


def _straight(strokes: Mask, pen: float, shortest: float) -> list[_Rule]:
    """What may be a rule along the rows: runs that touch, and together are thin and straight.

    A rule that rises by ten degrees still has runs of six times its thickness, so shorter ones are
    looked for.
    """
    runs = _open(strokes, 1, max(5, round(3.5 * pen)))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    rules = []
    for number in 1 + np.flatnonzero(boxes[1:, cv2.CC_STAT_WIDTH] >= shortest):
        left, top, width, height, area = boxes[number].tolist()
        thickest = 2 * pen + 1
        if area > thickest * width or height > 0.2 * width + thickest:
            continue
        pixels = labels[top : top + height, left : left + width] == number
        thick = pixels.sum(0)  # the runs touch, so no column is empty
        rows = np.arange(height) @ pixels / thick
        thickness = float(np.median(thick))
        bare = thick <= 1.5 * thickness  # elsewhere a stroke lies along it
        if bare.mean() < 0.6:
            continue
        columns = np.arange(width)
        slope, start = np.polyfit(columns[bare], rows[bare], 1)
        bend = np.abs(rows - slope * columns - start)[bare]
        if np.mean(bend < max(0.6, 0.2 * thickness)) < 0.9:
            continue
        across = np.abs(np.arange(height)[:, None] - slope * columns - start)
        pixels &= across <= thickness / 2 + 0.5
        rules.append(_Rule(left, top, pixels.astype(np.uint8), thickness))
    return rules


def _without_combs(posts: list[_Rule], pitch: float) -> list[_Rule]:
    """Upright rules but for three or more so close that only one digit each fits between.

    Boxes for one digit each stand in a row for one number.
    """
    if not posts:
        return []
    x = np.array([rule.top for rule in posts])
    top = np.array([rule.left for rule in posts])
    bottom = top + [rule.length for rule in posts]
    along = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    beside = along >= 0.8 * np.maximum.outer(bottom - top, bottom - top)
    comb = _joined(beside & (np.abs(np.subtract.outer(x, x)) <= pitch))
    return [rule for rule, teeth in zip(posts, np.bincount(comb)[comb], strict=True) if teeth < 3]


def _mark(rules: list[_Rule], strokes: Mask) -> Mask:
    """The pixels of rules."""
    marks = np.zeros_like(strokes)
    for rule in rules:
        height, width = rule.pixels.shape
        marks[rule.top : rule.top + height, rule.left : rule.left + width] |= rule.pixels
    return marks


def _meets(rule: _Rule, others: Mask, pen: float) -> bool:
    """Whether there is another rule at both ends."""
    reach = round(pen) + 2
    for column in (0, rule.length - 1):
        x, y = rule.left + column, rule.top + int(rule.pixels[:, column].argmax())
        near = others[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        if not near.any():
            return False
    return True


def _erase(rules: list[_Rule], strokes: Mask) -> Mask:
    """The strokes without these rules; a column that goes on beyond the rule is a stroke's."""
    rest = strokes.copy()
    for rule in rules:
        height, width = rule.pixels.shape
        reach = 2 * math.ceil(rule.thickness) + 2
        top, columns = max(rule.top - reach, 0), slice(rule.left, rule.left + width)
        rows = slice(top, rule.top + height + reach)
        crossing = _open(np.ascontiguousarray(strokes[rows, columns]), reach + 1, 1)
        marks = np.zeros_like(crossing)
        marks[rule.top - top : rule.top - top + height] = rule.pixels
        rest[rows, columns] &= (1 - cv2.dilate(marks, np.ones((3, 1), np.uint8))) | crossing
    return rest


@dataclass(frozen=True, eq=False)
class Patches:
    """Connected patches of strokes; entry i of each array is patch i.

    Attributes:
        labels: 1 + i on the pixels of patch i; 0 is paper.
        left, top, right, bottom: its box; right and bottom lie outside.
        area: how many pixels it has.
    """

    labels: Int32[np.ndarray, "height width"]
    left: Int32[np.ndarray, " n"]
    top: Int32[np.ndarray, " n"]
    right: Int32[np.ndarray, " n"]
    bottom: Int32[np.ndarray, " n"]
    area: Int32[np.ndarray, " n"]

    @property
    def width(self) -> Int32[np.ndarray, " n"]:
        """Columns of each box."""
        width: np.ndarray = self.right - self.left
        return width

    @property
    def height(self) -> Int32[np.ndarray, " n"]:
        """Rows of each box."""
        height: np.ndarray = self.bottom - self.top
        return height

    @property
    def cut(self) -> Bool[np.ndarray, " n"]:
        """Which ones touch the border of the picture."""
        rows, columns = self.labels.shape
        beside = (self.left == 0) | (self.right == columns)
        cut: np.ndarray = beside | (self.top == 0) | (self.bottom == rows)
        return cut


def find_patches(strokes: Mask, pen: float) -> Patches:
    """The connected patches of strokes, without specks: what is smaller than half a dot."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    area = boxes[:, cv2.CC_STAT_AREA]
    kept = area >= max(2.0, 0.5 * pen**2)
    kept[0] = False
    if kept.sum() > _MAX_PATCHES:
        kept &= area > np.sort(area[kept])[-_MAX_PATCHES - 1]
    labels = np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]
    left, top, width, height, area = boxes[kept].T
    return Patches(labels, left, top, left + width, top + height, area)


def find_angle(patches: Patches) -> float:
    """By how many degrees the lines of writing fall to the right; 0 where too little tells.

    The patches' heights are projected along each angle and added up. Along the lines of writing
    the sums are high within a line and zero between, and the sum of their squares is largest
    (Postl: Detection of linear oblique structures and skew scan in digitized documents, 1986;
    with patches for pixels).
    """
    if not patches.area.size:
        return 0.0
    size = _middle(patches.height, patches.area)
    like = (patches.height >= 0.4 * size) & (patches.height <= 2 * size)
    if like.sum() < 4:
        return 0.0
    x, y = _centres(patches)
    x, y, half = x[like], y[like], patches.height[like] / 2

    def squares(angle: float) -> float:
        middle = y - x * math.tan(math.radians(angle))
        start, stop = (np.rint(v * 24 / size).astype(int) for v in (middle - half, middle + half))
        first, bins = start.min(), stop.max() - start.min() + 1
        steps = np.bincount(start - first, minlength=bins)
        steps -= np.bincount(stop - first, minlength=bins)
        return float((np.cumsum(steps) ** 2).sum())

    angles = np.arange(-_MAX_ANGLE, _MAX_ANGLE + 1)
    scores = np.array([squares(float(angle)) for angle in angles])
    # The top is broad and rough; a mean that leans on it is steadier than its highest point.
    angle = float(np.average(angles, weights=(scores / scores.max()) ** 20))
    return angle if abs(angle) >= _LEAST_ANGLE else 0.0


def level(shape: tuple[int, ...], angle: float) -> tuple[Affine, tuple[int, ...]]:
    """The turn that makes lines level which fall by `angle` degrees, and the shape it takes."""
    if angle == 0:
        return np.eye(2, 3), shape
    height, width = shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    cos, sin = np.abs(turn[0, :2])
    rows, columns = math.ceil(height * cos + width * sin), math.ceil(height * sin + width * cos)
    turn[:, 2] += (columns - width) / 2, (rows - height) / 2
    return turn, (rows, columns)


@dataclass(frozen=True, eq=False)
class Row:
    """One line of writing: numbers of its patches.

    Attributes:
        high: those that are high enough for a digit.
        members: these, and what else belongs to the line.
        plausibility: as in `Line`.
    """

    high: Int64[np.ndarray, " n"]
    members: Int64[np.ndarray, " m"]
    plausibility: float


def find_rows(patches: Patches, fences: Mask, pen: float) -> list[Row]:
    """The lines of writing in reading order.

    Two patches are neighbours in a line if they lie beside each other, of like height, no farther
    apart than they are high, and no upright rule stands between them. What is too low for a digit,
    a dot, a dash, a part that came loose, belongs to the line within which it lies.
    """
    dash = patches.area < 1.15 * pen * patches.width
    high = np.flatnonzero(~dash & (patches.height >= max(_LOWEST, 2.2 * pen)))
    high = np.sort(high[np.argsort(-patches.area[high], kind="stable")[:_MAX_HIGH]])
    if not high.size:
        return []
    group = _joined(_neighbours(patches, high, fences))
    groups = [high[group == first] for first in np.unique(group)]
    sizes = np.array([_middle(patches.height[own], patches.area[own]) for own in groups])
    extent = np.array([patches.right[own].max() - patches.left[own].min() for own in groups])
    slim = extent < 0.15 * sizes  # a 1, or what remains of an upright rule
    areas = np.array([patches.area[own].sum() for own in groups])
    usual = _middle(sizes, areas if slim.all() else areas * ~slim)
    x, y = _centres(patches)
    free = np.ones(len(patches.area), bool)
    rows = []
    for which in np.argsort(-sizes * ~slim, kind="stable"):
        size, own = sizes[which], groups[which][free[groups[which]]]
        if not own.size:
            continue
        free[own] = False
        within = free & (dash | (patches.height < 0.5 * size)) & (patches.area >= pen**2)
        within &= np.abs(x - np.clip(x, patches.left[own].min(), patches.right[own].max())) < (
            0.7 * size
        )
        # The bar of a 5 may float above it; below a line are rules.
        within &= (y > patches.top[own].min() - 0.35 * size) & (y < patches.bottom[own].max())
        within &= not slim[which]
        free &= ~within
        whole = float(patches.area[own] @ ~patches.cut[own] / patches.area[own].sum())
        plausibility = min(1.0, size / usual) * (0.3 + 0.7 * whole) * (0.5 if slim[which] else 1.0)
        if plausibility >= _LEAST_PLAUSIBLE:
            rows.append(Row(own, np.append(own, np.flatnonzero(within)), float(plausibility)))
    return _in_reading_order(rows, patches)


def _neighbours(
    patches: Patches, high: Int64[np.ndarray, " n"], fences: Mask
) -> Bool[np.ndarray, "n n"]:
    """Which of the high patches stand beside which in a line."""
    left, right = patches.left[high], patches.right[high]
    top, bottom = patches.top[high], patches.bottom[high]
    lower = np.minimum.outer(bottom - top, bottom - top)
    taller = np.maximum.outer(bottom - top, bottom - top)
    overlap = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    gap = np.maximum.outer(left, left) - np.minimum.outer(right, right)
    near: np.ndarray = (overlap >= 0.4 * lower) & (gap <= 1.2 * taller) & (lower >= 0.35 * taller)
    if fences.any():
        _, _, bars, _ = cv2.connectedComponentsWithStats(fences, connectivity=8)
        for bar_left, bar_top, width, height, _ in bars[1:]:
            beyond = left + right > 2 * bar_left + width
            along = (top < bar_top + height) & (bottom > bar_top)
            near &= ~(np.not_equal.outer(beyond, beyond) & np.logical_and.outer(along, along))
    return near


def _joined(near: Bool[np.ndarray, "n n"]) -> Int64[np.ndarray, " n"]:
    """For each its group, where neighbours of neighbours are in one: its first member."""
    group = np.arange(len(near))
    while True:
        first = np.where(near, group, len(near)).min(1)
        first = first[first]  # as far again
        if np.array_equal(first, group):
            return group
        group = first


def _in_reading_order(rows: list[Row], patches: Patches) -> list[Row]:
    """From top to bottom, and what stands side by side from left to right."""
    rest = sorted(rows, key=lambda row: int(patches.top[row.high].min()))
    ordered = []
    while rest:
        floor = patches.bottom[rest[0].high].max()
        beside = [rest[0]]
        beside += [row for row in rest[1:] if _centres(patches)[1][row.high].mean() < floor]
        rest = [row for row in rest if row not in beside]
        ordered += sorted(beside, key=lambda row: int(patches.left[row.high].min()))
    return ordered


def cut_out(
    row: Row,
    patches: Patches,
    contrast: Contrast,
    *,
    pen: float,
    to_image: Affine,
    limits: tuple[int, int, int, int],
) -> Line:
    """The row as a line of ink: its own patches and nothing else, at a fixed height.

    A hairline would pale when it is made smaller, so it is drawn thicker first. Strokes keep their
    grey edges, as MNIST's do: ink is clipped a little above the paper and a little below the
    strokes' usual blackness. A line of one pen is so as black as a line of another.

    Args:
        row: the patches that belong.
        patches: all patches.
        contrast: what they were found in.
        pen: thickness of the strokes in it.
        to_image: takes places in `contrast` to places in the original picture.
        limits: left, top, right and bottom of the original picture.
    """
    own = row.members
    left, top = int(patches.left[own].min()), int(patches.top[own].min())
    right, bottom = int(patches.right[own].max()), int(patches.bottom[own].max())
    scale = min(
        DIGIT_HEIGHT / _middle(patches.height[row.high], patches.area[row.high]),
        (LINE_HEIGHT - 2) / (bottom - top),
        (MAX_WIDTH - 2 * _MARGIN) / (right - left),
    )
    chosen = np.zeros(len(patches.area) + 1, np.uint8)
    chosen[own + 1] = 1
    rim = max(1, round(pen / 3))  # the soft edge of a stroke belongs to it
    thicker = max(0, round((_THINNEST / scale - pen) / 2))
    pad = 2 * rim + thicker
    around = (left - pad, top - pad, right + pad, bottom + pad)
    strokes = cv2.dilate(
        chosen[_crop(patches.labels, around)], np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    )
    grey = _crop(contrast, around) * strokes
    if thicker:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thicker + 1, 2 * thicker + 1))
        grey = cv2.dilate(grey, disc)
    # Resizing averages, and gives whole pixels; the rest of the way interpolates.
    small = _resize(grey, min(scale, 1.0))
    zoom_y, zoom_x = np.divide(small.shape, grey.shape)
    width = math.ceil((right - left) * scale) + 2 * _MARGIN
    from_sheet = np.array(
        [
            [scale, 0, _MARGIN - left * scale],
            [0, scale, LINE_HEIGHT / 2 - (top + bottom) / 2 * scale],
        ]
    )
    to_sheet = np.array([[1 / zoom_x, 0, left - pad], [0, 1 / zoom_y, top - pad]])
    place = _to_centres(_after(from_sheet, to_sheet))
    levels: np.ndarray = cv2.warpAffine(small, place, (width, LINE_HEIGHT)).astype(np.float32)
    core = float(np.percentile(levels[levels >= 0.4 * levels.max()], 60))
    ink = np.clip((levels - 0.15 * core) / max(0.75 * core, 1), 0, 1)
    return Line(
        ink=np.rint(255 * ink).astype(np.uint8),
        box=_box(to_image, np.array([left, top, right, bottom], float), limits),
        to_image=_after(to_image, cv2.invertAffineTransform(from_sheet)),
        plausibility=row.plausibility,
    )


def slanted(ink: UInt8[np.ndarray, "32 width"], by: float) -> UInt8[np.ndarray, "32 wider"]:
    """A line of ink whose upper half leans to the right by so many columns a row."""
    room = math.ceil(abs(by) * LINE_HEIGHT / 2)
    lean = np.array([[1, -by, by * LINE_HEIGHT / 2 + room], [0, 1, 0]])
    width = ink.shape[1] + 2 * room
    return cv2.warpAffine(ink, _to_centres(lean), (width, LINE_HEIGHT))


def _after(second: Affine, first: Affine) -> Affine:
    """The map that does the first, then the second."""
    both: np.ndarray = second @ np.vstack([first, [0, 0, 1]])
    return both


def _to_centres(place: Affine) -> Affine:
    """The same map for OpenCV, which gives (0, 0) to the centre of the first pixel."""
    moved = place.copy()
    moved[:, 2] += place[:, :2] @ [0.5, 0.5] - 0.5
    return moved


def _box(
    place: Affine, corners: Float64[np.ndarray, " 4"], limits: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """X, y, width and height, whole pixels and at least one, around a box that is mapped."""
    left, top, right, bottom = corners
    x, y = place @ [[left, right, right, left], [top, top, bottom, bottom], [1, 1, 1, 1]]
    x = np.clip([math.floor(x.min() + 0.01), math.ceil(x.max() - 0.01)], limits[0], limits[2])
    y = np.clip([math.floor(y.min() + 0.01), math.ceil(y.max() - 0.01)], limits[1], limits[3])
    x[0], y[0] = min(x[0], limits[2] - 1), min(y[0], limits[3] - 1)
    return int(x[0]), int(y[0]), max(int(x[1] - x[0]), 1), max(int(y[1] - y[0]), 1)


def _crop(
    picture: Shaped[np.ndarray, "height width"], box: tuple[int, int, int, int]
) -> Shaped[np.ndarray, "rows columns"]:
    """What lies between left, top, right and bottom; 0 beyond the border."""
    left, top, right, bottom = box
    height, width = picture.shape
    part = picture[max(top, 0) : bottom, max(left, 0) : right]
    beyond = [max(-top, 0), max(bottom - height, 0)], [max(-left, 0), max(right - width, 0)]
    return np.pad(part, beyond)


def _centres(patches: Patches) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    return (patches.left + patches.right) / 2, (patches.top + patches.bottom) / 2


def _middle(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted median."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order], dtype=float)
    return float(values[order[np.searchsorted(sums, sums[-1] / 2)]])


def _open(strokes: Mask, height: int, width: int) -> Mask:
    """Morphological opening: what is covered by boxes of this size that fit into the strokes."""
    box = np.ones((height | 1, width | 1), np.uint8)  # of even size it would shift
    # By default OpenCV lets strokes go on beyond the border.
    return cv2.morphologyEx(
        strokes, cv2.MORPH_OPEN, box, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )


def _coarse(sheet: Sheet) -> UInt8[np.ndarray, "rows columns *channels"]:
    factor = math.sqrt(_COARSE_AREA / (sheet.shape[0] * sheet.shape[1]))
    return _resize(sheet, min(factor, 1.0))


def _window(sheet: Sheet) -> int:
    """Odd, and at least twice as wide as a stroke; a small picture has one paper."""
    return max(31, int(min(sheet.shape[:2])) // 4) | 1


def _resize(
    sheet: Sheet, factor: float = 1.0, size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "rows columns *channels"]:
    """By a factor, or to a width and height."""
    if size is None:
        size = max(1, round(sheet.shape[1] * factor)), max(1, round(sheet.shape[0] * factor))
    smaller = size[0] <= sheet.shape[1] and size[1] <= sheet.shape[0]
    return cv2.resize(sheet, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
