// Paper: strokes by mouse, finger or pen on a canvas. It knows nothing of reading.
//
// Strokes are kept in units of a sheet of fixed size, so the picture that is read does not depend
// on the screen, and turning a phone loses nothing.

export const SHEET = { width: 480, height: 336 };
const PEN = 6;

export class Paper {
  #canvas;
  #strokes = [];
  #undone = [];
  #pointer = null;

  /** `onStart` is called when the pen touches the paper, `onChange` when a stroke is done. */
  constructor(canvas, { onStart, onChange }) {
    this.#canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => {
      if (this.#pointer !== null || event.button !== 0) return;
      event.preventDefault();
      this.#pointer = event.pointerId;
      canvas.setPointerCapture(event.pointerId);
      onStart();
      this.#strokes.push([]);
      this.#undone = [];
      this.#extend([event]);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.#pointer) return;
      const all = event.getCoalescedEvents?.() ?? [];
      this.#extend(all.length ? all : [event]);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => {
        if (event.pointerId !== this.#pointer) return;
        this.#pointer = null;
        onChange();
      });
    }
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  get empty() {
    return this.#strokes.length === 0;
  }

  get writing() {
    return this.#pointer !== null;
  }

  get redoable() {
    return this.#undone.length > 0;
  }

  undo() {
    const last = this.#strokes.pop();
    if (last) this.#undone.push(last);
    this.redraw();
  }

  redo() {
    const last = this.#undone.pop();
    if (last) this.#strokes.push(last);
    this.redraw();
  }

  /** Take all strokes away; each can be had again. */
  clear() {
    this.#undone.push(...this.#strokes.reverse());
    this.#strokes = [];
    this.redraw();
  }

  redraw() {
    const canvas = this.#canvas;
    const scale = devicePixelRatio * (canvas.clientWidth / SHEET.width);
    canvas.width = Math.round(SHEET.width * scale);
    canvas.height = Math.round(SHEET.height * scale);
    draw(canvas.getContext("2d"), this.#strokes, scale, getComputedStyle(canvas).color);
  }

  /** The sheet in black on white, as a canvas. */
  sheet() {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, SHEET);
    const context = canvas.getContext("2d", { alpha: false });
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    draw(context, this.#strokes, 1, "black");
    return canvas;
  }

  #extend(events) {
    const place = this.#canvas.getBoundingClientRect();
    const stroke = this.#strokes.at(-1);
    for (const event of events) {
      stroke.push({
        x: ((event.clientX - place.left) / place.width) * SHEET.width,
        y: ((event.clientY - place.top) / place.height) * SHEET.height,
        // Only a pen measures it; mice and fingers report 0.5 or nothing useful.
        width: PEN * (event.pointerType === "pen" ? 0.6 + 0.8 * event.pressure : 1),
      });
    }
    this.redraw();
  }
}

function draw(context, strokes, scale, colour) {
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = colour;
  for (const stroke of strokes) {
    const [first] = stroke;
    context.beginPath();
    context.arc(first.x, first.y, first.width / 2, 0, 2 * Math.PI);
    context.fill();
    // A curve from middle to middle of the lines between the points has no corners.
    let from = first;
    for (let i = 1; i < stroke.length; i++) {
      const point = stroke[i];
      const next = stroke[i + 1] ?? point;
      const to = { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
      context.lineWidth = point.width;
      context.beginPath();
      context.moveTo(from.x, from.y);
      context.quadraticCurveTo(point.x, point.y, to.x, to.y);
      context.stroke();
      from = to;
    }
  }
}
