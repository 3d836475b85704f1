// Boxes: the geometry of a field, which has one box or several side by side. Nothing is drawn here.

/** The box around all boxes of a field: x, y, width, height. */
export function outline(boxes) {
  const left = Math.min(...boxes.map(([x]) => x));
  const top = Math.min(...boxes.map(([, y]) => y));
  const right = Math.max(...boxes.map(([x, , width]) => x + width));
  const bottom = Math.max(...boxes.map(([, y, , height]) => y + height));
  return [left, top, right - left, bottom - top];
}

/** The boxes stretched and moved so that they fill another outline. */
export function fitted(boxes, [left, top, width, height]) {
  const [x, y, w, h] = outline(boxes);
  const across = width / w;
  const down = height / h;
  return boxes.map(([a, b, c, d]) => [
    Math.round(left + (a - x) * across),
    Math.round(top + (b - y) * down),
    Math.max(1, Math.round(c * across)),
    Math.max(1, Math.round(d * down)),
  ]);
}

/** An outline parted into boxes of one width. */
export function parted(boxes, count) {
  const [x, y, width, height] = outline(boxes);
  const edges = Array.from({ length: count + 1 }, (_, i) => Math.round(x + (i * width) / count));
  return edges.slice(1).map((edge, i) => [edges[i], y, edge - edges[i], height]);
}

/** An outline that lies within a page. */
export function inside([x, y, width, height], page) {
  const w = Math.min(Math.max(Math.round(width), 4), page.width);
  const h = Math.min(Math.max(Math.round(height), 4), page.height);
  const left = Math.min(Math.max(Math.round(x), 0), page.width - w);
  const top = Math.min(Math.max(Math.round(y), 0), page.height - h);
  return [left, top, w, h];
}
