// Sheet: the whole picture with a box for each line; boxes are drawn, moved, resized and removed.

import { say } from "./words.js";

const SMALLEST = 6; // pixels on the screen: anything smaller was a click

const at = (id) => document.getElementById(id);

export class Sheet {
  #page = null;
  #image = null;

  /** `onMove(line, box)`, `onDraw(box)`, `onRemove(line)` and `onChoose(line)` hear what is done. */
  constructor(hears) {
    this.hears = hears;
    at("sheet").addEventListener("pointerdown", (event) => this.#draw(event));
  }

  /** Show a page and its picture. */
  show(page, image) {
    this.#page = page;
    if (this.#image !== image) {
      this.#image = image;
      image.alt = "";
    }
    const lines = page.lines.filter((line) => line.state !== "deleted" && line.box[2]);
    at("sheet").classList.toggle("fixed", Boolean(page.fixed));
    at("sheet").replaceChildren(image, ...lines.map((line) => this.#area(line)));
  }

  focus(line) {
    at("sheet").querySelector(`[data-line="${line}"]`)?.focus();
  }

  /** A touch draws only in this mode; otherwise it scrolls the page. */
  drawing(on) {
    at("sheet").classList.toggle("drawing", on);
  }

  #area(line) {
    const area = document.createElement("div");
    area.className = "area";
    area.dataset.line = line.line;
    area.tabIndex = 0;
    area.setAttribute("role", "button");
    area.setAttribute("aria-label", say("area", line.field ?? line.text));
    const corner = document.createElement("span");
    corner.className = "corner";
    area.append(corner);
    this.#place(area, line.box);
    area.addEventListener("pointerdown", (event) => this.#drag(event, area, line));
    area.addEventListener("keydown", (event) => this.#key(event, area, line));
    if (this.#page.fixed) area.addEventListener("click", () => this.hears.onChoose(line));
    return area;
  }

  #place(area, [x, y, width, height]) {
    const { width: across, height: down } = this.#page;
    area.style.left = `${(100 * x) / across}%`;
    area.style.top = `${(100 * y) / down}%`;
    area.style.width = `${(100 * width) / across}%`;
    area.style.height = `${(100 * height) / down}%`;
  }

  /** Pixels of the picture for one on the screen. */
  get #scale() {
    return this.#page.width / at("sheet").clientWidth;
  }

  #inside([x, y, width, height]) {
    const { width: across, height: down } = this.#page;
    const w = Math.min(Math.max(Math.round(width), 1), across);
    const h = Math.min(Math.max(Math.round(height), 1), down);
    const left = Math.min(Math.max(Math.round(x), 0), across - w);
    const top = Math.min(Math.max(Math.round(y), 0), down - h);
    return [left, top, w, h];
  }

  #drag(event, area, line) {
    if (this.#page.fixed) return area.focus(); // its boxes are those of the form
    event.preventDefault();
    event.stopPropagation();
    area.focus();
    const resizing = event.target.classList.contains("corner");
    const [x, y, width, height] = line.box;
    this.#follow(event, area, (dx, dy, ended) => {
      const moved = resizing ? [x, y, width + dx, height + dy] : [x + dx, y + dy, width, height];
      const box = this.#inside(moved);
      this.#place(area, box);
      if (!ended) return;
      if (dx || dy) this.hears.onMove(line, box);
      else this.hears.onChoose(line);
    });
  }

  #draw(event) {
    if (!this.#page || this.#page.form || event.button !== 0) return;
    if (event.pointerType === "touch" && !at("sheet").classList.contains("drawing")) return;
    event.preventDefault();
    const frame = at("sheet").getBoundingClientRect();
    const border = at("sheet").clientLeft;
    const x = (event.clientX - frame.left - border) * this.#scale;
    const y = (event.clientY - frame.top - border) * this.#scale;
    const area = document.createElement("div");
    area.className = "area chosen";
    at("sheet").append(area);
    this.#follow(event, area, (dx, dy, ended) => {
      const left = Math.max(0, Math.min(x, x + dx));
      const top = Math.max(0, Math.min(y, y + dy));
      const box = this.#inside([left, top, Math.abs(dx), Math.abs(dy)]);
      this.#place(area, box);
      if (!ended) return;
      area.remove();
      if (Math.min(box[2], box[3]) >= SMALLEST * this.#scale) this.hears.onDraw(box);
    });
  }

  /** Tell `moved` how far the pointer is from where it began, in pixels of the picture. */
  #follow(start, area, moved) {
    const scale = this.#scale;
    const away = (event) => [
      (event.clientX - start.clientX) * scale,
      (event.clientY - start.clientY) * scale,
    ];
    area.setPointerCapture(start.pointerId);
    const over = new AbortController();
    const { signal } = over;
    area.addEventListener("pointermove", (event) => moved(...away(event), false), { signal });
    for (const end of ["pointerup", "pointercancel"]) {
      area.addEventListener(
        end,
        (event) => {
          over.abort();
          moved(...away(event), true);
        },
        { signal },
      );
    }
  }

  #key(event, area, line) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (this.#page.form && event.key !== "Enter" && event.key !== " ") return;
    if (way) {
      const step = Math.max(1, Math.round(Math.max(this.#page.width, this.#page.height) / 100));
      const [dx, dy] = way.map((w) => w * step);
      const [x, y, width, height] = line.box;
      const box = event.shiftKey ? [x, y, width + dx, height + dy] : [x + dx, y + dy, width, height];
      this.hears.onMove(line, this.#inside(box));
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.hears.onRemove(line);
    } else if (event.key === "Enter" || event.key === " ") {
      this.hears.onChoose(line);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}
