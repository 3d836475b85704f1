// Card: one line, cut out of its picture, with its text in a field and the doubtful characters marked.

import { percent, say } from "./words.js";

const SURE = 0.9; // as `rowscan evaluate` counts what is "wrong and sure"
/** A space that is doubtful has to be seen. */
const visible = (character) => (character === " " ? "␣" : character);
const APART = 30; // pixels between the marks of two characters: the width of "or 7"

/** The characters that a model was not sure of. */
function doubtful(line) {
  return (line.characters ?? []).filter((c) => c.confidence < SURE);
}

/** Places from 0 to 1 in order, moved so far to the right that none covers the one before. */
function spread(places, width) {
  const least = Math.min(APART / width, 1 / (places.length + 1));
  let last = -1;
  return places.map((place) => (last = Math.max(place, last + least)));
}

export class Card {
  #view = document.createElement("div");
  #canvas = document.createElement("canvas");
  #marks = document.createElement("div");
  #image = null;
  #page = null;

  constructor(page, line, image, [number, count], hears) {
    this.line = line;
    this.#page = page;
    this.#image = image;
    this.element = document.createElement("div");
    this.element.className = "card";
    this.element.dataset.line = line.line;
    this.#view.className = "view";
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", say("crop", number, count));
    this.#canvas.addEventListener("click", () => hears.onWhole(line));
    this.#marks.className = "marks";
    this.#view.append(this.#canvas, this.#marks);
    this.field = this.#makeField(number, count, hears);
    this.#marks.id = `marks-${line.line}`;
    const row = document.createElement("div");
    row.className = "row";
    this.sureness = document.createElement("span");
    this.sureness.className = "sureness";
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "remove";
    remove.textContent = "×";
    remove.setAttribute("aria-label", say("remove"));
    remove.title = say("remove");
    remove.addEventListener("click", () => hears.onRemove(line));
    row.append(this.field, this.sureness, remove);
    this.element.append(this.#view, row);
    this.seal();
  }

  #makeField(number, count, hears) {
    const field = document.createElement("input");
    field.className = "field";
    field.type = "text";
    field.value = this.line.text;
    field.autocomplete = "off";
    field.spellcheck = false;
    field.maxLength = 1000;
    field.setAttribute("autocapitalize", "off");
    // A phone's keyboard of digits lacks most signs.
    field.inputMode = /^[\d.,]*$/.test(this.line.text) ? "decimal" : "text";
    field.setAttribute("aria-label", say("field", number, count));
    field.setAttribute("aria-description", this.#described());
    field.addEventListener("input", () => hears.onType(this.line, field.value));
    return field;
  }

  #described() {
    return doubtful(this.line)
      .map((c) => say("doubt", visible(c.character), percent(c.confidence), c.runner_up?.character))
      .join(". ");
  }

  /** Show how sure the text is, or that somebody has decided. */
  seal() {
    const { state, confidence } = this.line;
    const decided = state === "accepted" || state === "typed";
    this.element.classList.toggle("sealed", state === "accepted");
    this.sureness.textContent = decided ? "" : confidence === null ? "" : percent(confidence);
  }

  /** Draw the line as large as there is room; its box has to be in the page. */
  draw(room) {
    const [x, y, width, height] = this.line.box;
    const { width: across, height: down } = this.#page;
    const margin = Math.max(4, 0.3 * height);
    const left = Math.max(0, x - margin);
    const top = Math.max(0, y - margin);
    const wide = Math.min(across, x + width + margin) - left;
    const high = Math.min(down, y + height + margin) - top;
    const zoom = Math.min(room.width / wide, room.height / high, 6);
    const dense = Math.min(2, devicePixelRatio);
    this.#canvas.width = Math.max(1, Math.round(wide * zoom * dense));
    this.#canvas.height = Math.max(1, Math.round(high * zoom * dense));
    this.#canvas.style.width = `${wide * zoom}px`;
    const scale = this.#image.naturalWidth / across;
    const context = this.#canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    if (scale) {
      const source = [left, top, wide, high].map((n) => n * scale);
      context.drawImage(this.#image, ...source, 0, 0, this.#canvas.width, this.#canvas.height);
    }
    this.#mark(left, wide);
  }

  /** Below the picture what was read, each character under its ink. */
  #mark(left, wide) {
    const characters = this.line.characters ?? [];
    this.#marks.hidden = characters.length === 0;
    const doubted = new Set(doubtful(this.line));
    const middles = characters.map(({ box: [x, , width] }) => (x + width / 2 - left) / wide);
    const places = spread(middles, this.#canvas.clientWidth || 1);
    const marks = characters.map((c, i) => {
      const rival = doubted.has(c) && c.runner_up;
      const mark = document.createElement(rival ? "button" : "span");
      mark.className = "mark";
      mark.classList.toggle("doubtful", doubted.has(c));
      const read = document.createElement("b");
      read.textContent = doubted.has(c) ? visible(c.character) : c.character;
      mark.append(read);
      if (rival) {
        mark.type = "button";
        mark.tabIndex = -1; // the keyboard has r
        mark.setAttribute("aria-label", say("or", visible(rival.character)));
        const other = document.createElement("small");
        other.textContent = say("or", visible(rival.character));
        mark.append(other);
        mark.addEventListener("click", () => this.swap(i));
      }
      mark.style.left = `${100 * places[i]}%`;
      return mark;
    });
    this.#marks.replaceChildren(...marks);
  }

  /** Whether the field holds what was read, so that characters have their places in it. */
  get #asRead() {
    return this.field.value.length === (this.line.characters ?? []).length;
  }

  /** Select the next doubtful character after the caret; after the last one, the first. */
  selectDoubtful(from = 0) {
    this.field.focus();
    if (this.#asRead) {
      const { characters } = this.line;
      const doubted = doubtful(this.line);
      const places = [...characters.keys()].filter((i) => doubted.includes(characters[i]));
      const i = places.find((place) => place >= from) ?? places[0];
      if (i !== undefined) return this.field.setSelectionRange(i, i + 1);
    }
    const end = this.field.value.length;
    this.field.setSelectionRange(end, end);
  }

  /** Put the runner-up of a character into the field; again, what was read. */
  swap(i = this.#swappable()) {
    const character = this.line.characters?.[i];
    if (!character?.runner_up || !this.#asRead) return;
    const { value } = this.field;
    const other = value[i] === character.character ? character.runner_up.character : character.character;
    this.field.focus();
    this.field.value = value.slice(0, i) + other + value.slice(i + 1);
    this.field.setSelectionRange(i, i + 1);
    this.field.dispatchEvent(new Event("input"));
  }

  /** The selected character if it has a runner-up, or else the most doubtful one. */
  #swappable() {
    const characters = this.line.characters ?? [];
    const { selectionStart, selectionEnd } = this.field;
    if (selectionEnd === selectionStart + 1 && characters[selectionStart]?.runner_up) return selectionStart;
    const open = [...characters.keys()].filter((i) => characters[i].runner_up);
    return open.sort((a, b) => characters[a].confidence - characters[b].confidence)[0];
  }
}
