// Cutout: a part of a picture, upright, as large as there is room.

const LARGEST = 6; // times: larger shows no more

/**
 * What to cut out for a line or field: a corner, the side along the writing and the side down from
 * it, in pixels of the picture. A form may lie on its side or upside down, and so do its fields.
 */
export function frame(line, size) {
  if (line.corners?.length) {
    const [[x, y], [right, across], , [left, below]] = line.corners;
    return { origin: [x, y], along: [right - x, across - y], down: [left - x, below - y] };
  }
  const [x, y, width, height] = line.box;
  const margin = Math.max(4, 0.3 * height);
  const left = Math.max(0, x - margin);
  const top = Math.max(0, y - margin);
  const wide = Math.min(size.width, x + width + margin) - left;
  const high = Math.min(size.height, y + height + margin) - top;
  return { origin: [left, top], along: [wide, 0], down: [0, high] };
}

const cross = ([a, b], [c, d]) => a * d - b * c;

/** How far along the writing the middle of a box is, 0 to 1. */
export function position({ origin, along, down }, [x, y, width, height]) {
  const away = [x + width / 2 - origin[0], y + height / 2 - origin[1]];
  return cross(away, down) / cross(along, down);
}

/** Draw a part of a picture into a canvas that fits into a room. */
export function paint(canvas, part, { image, width, height }, room) {
  const { origin, along, down } = part;
  const [wide, high] = [Math.hypot(...along), Math.hypot(...down)];
  const zoom = Math.min(room.width / wide, room.height / high, LARGEST);
  const dense = Math.min(2, devicePixelRatio);
  canvas.width = Math.max(1, Math.round(wide * zoom * dense));
  canvas.height = Math.max(1, Math.round(high * zoom * dense));
  canvas.style.width = `${wide * zoom}px`;
  const scale = image.naturalWidth / width;
  if (!scale) return;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const det = cross(along, down);
  const [a, c] = [(canvas.width * down[1]) / det, (-canvas.width * down[0]) / det];
  const [b, d] = [(-canvas.height * along[1]) / det, (canvas.height * along[0]) / det];
  const [x, y] = origin;
  context.setTransform(a, b, c, d, -(a * x + c * y), -(b * x + d * y));
  const across = [x, x + along[0], x + down[0], x + along[0] + down[0]];
  const below = [y, y + along[1], y + down[1], y + along[1] + down[1]];
  const left = Math.max(0, Math.min(...across));
  const top = Math.max(0, Math.min(...below));
  const box = [left, top, Math.min(width, Math.max(...across)) - left, Math.min(height, Math.max(...below)) - top];
  if (box[2] > 0 && box[3] > 0) context.drawImage(image, ...box.map((n) => n * scale), ...box);
}
