// List: the pictures in order of doubt, those that a filter lets through. It draws only what shows.

import { percent, say } from "./words.js";

const HEIGHT = 48; // pixels of a row, as in review.css
const SPARE = 6; // rows above and below what shows
const FINISHED = ["done", "none"];

const at = (id) => document.getElementById(id);

/** A row as the server sends it. */
export function asRow([id, path, number, status, confidence, text, state, tag]) {
  return { id, path, number, status, confidence, text, state, tag };
}

export const isDone = (row) => FINISHED.includes(row.state);

const passes = {
  left: (row) => !isDone(row),
  unseen: (row) => row.state === "open",
  under: (row, limit) => ["read", "unsure", "check"].includes(row.status) && row.confidence < limit,
  check: (row) => row.status === "check",
  empty: (row) => row.status === "empty",
  errors: (row) => row.status === "error",
  done: isDone,
  all: () => true,
};

export const filters = Object.keys(passes);

/** The server's order: what breaks a rule, then the most doubtful; what could not be read last. */
function compare(a, b) {
  return (
    (a.status === "error") - (b.status === "error") ||
    (b.status === "check") - (a.status === "check") ||
    a.confidence - b.confidence ||
    (a.path < b.path ? -1 : a.path > b.path ? 1 : a.number - b.number)
  );
}

export class List {
  rows = new Map();
  shown = []; // what passed the filter when it was chosen or came in, in order
  current = null;
  #filter = "left";
  #limit = 0.9;

  constructor(onChoose) {
    this.onChoose = onChoose;
    at("list").addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(at("list"));
  }

  get done() {
    let n = 0;
    for (const row of this.rows.values()) n += isDone(row);
    return n;
  }

  choose(filter, limit) {
    this.#filter = filter;
    this.#limit = limit;
    this.shown = [...this.rows.values()].filter((row) => this.#passes(row)).sort(compare);
    this.draw();
  }

  /** Rows that are new or have changed. What was listed stays where it is until `choose`. */
  update(rows) {
    let grown = false;
    for (const row of rows) {
      const known = this.rows.get(row.id);
      if (known) {
        Object.assign(known, row);
        continue;
      }
      this.rows.set(row.id, row);
      if (!this.#passes(row)) continue;
      this.shown.push(row);
      grown = true;
    }
    if (grown) this.shown.sort(compare);
    this.draw();
  }

  #passes(row) {
    return passes[this.#filter](row, this.#limit);
  }

  /** The row that stands `by` rows after the current one in the list; before it if negative. */
  step(by) {
    const here = this.shown.findIndex((row) => row.id === this.current);
    return this.shown[here + by] ?? null;
  }

  /** The next rows that are not done, after the current one and then from the start. */
  ahead(count) {
    const here = this.shown.findIndex((row) => row.id === this.current);
    const found = [];
    for (let i = 1; i <= this.shown.length && found.length < count; i++) {
      const row = this.shown[(here + i) % this.shown.length];
      if (!isDone(row) && row.id !== this.current) found.push(row);
    }
    return found;
  }

  /** Show which one is current, and scroll there. */
  mark(id) {
    this.current = id;
    const here = this.shown.findIndex((row) => row.id === id);
    const list = at("list");
    const top = here * HEIGHT;
    if (here >= 0 && (top < list.scrollTop || top + HEIGHT > list.scrollTop + list.clientHeight)) {
      list.scrollTop = top - list.clientHeight / 3;
    }
    this.draw();
  }

  draw() {
    const list = at("list");
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - SPARE);
    const last = Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + SPARE;
    const focused = Number(list.contains(document.activeElement) && document.activeElement.dataset.id);
    const items = this.shown.slice(first, last).map((row, i) => this.#item(row, first + i));
    const room = document.createElement("div"); // gives the list its length
    room.style.height = `${this.shown.length * HEIGHT}px`;
    list.replaceChildren(room, ...items);
    if (focused) items.find((item) => Number(item.dataset.id) === focused)?.focus();
    at("listed").textContent = say("listed", this.shown.length);
  }

  #item(row, index) {
    const item = document.createElement("button");
    item.type = "button";
    item.className = "item";
    item.dataset.id = row.id;
    item.style.top = `${index * HEIGHT}px`;
    item.setAttribute("aria-current", String(row.id === this.current));
    const text = document.createElement("b");
    text.textContent = row.state === "none" ? "–" : row.text || (row.status === "error" ? "!" : "–");
    const name = document.createElement("small");
    name.textContent = row.number > 1 ? say("page", row.path, row.number) : row.path;
    const mark = document.createElement("i");
    const sure = `${row.status === "check" ? "! " : ""}${percent(row.confidence)}`;
    mark.textContent = isDone(row) ? "✓" : row.status === "error" ? "" : sure;
    mark.classList.toggle("low", !isDone(row) && (row.confidence < 0.9 || row.status === "check"));
    if (row.status === "check" && !isDone(row)) mark.title = say("filters").check;
    item.append(text, name, mark);
    item.addEventListener("click", () => this.onChoose(row.id));
    return item;
  }
}
