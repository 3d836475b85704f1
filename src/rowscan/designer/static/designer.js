// Designer: the fields of a form, on its picture and as a list. Each change is saved at once.

import "./designerwords.js";
import { fitted, inside, outline, parted } from "./boxes.js";
import { ThemeButton } from "./themebutton.js";
import { fillIn, say, switchLanguage } from "./words.js";

const KINDS = ["digits", "number", "date", "choice", "tick", "text"];
const WAIT = 300; // milliseconds without a change before it is saved
const SMALLEST = 6; // pixels on the screen: anything smaller was a click

const at = (id) => document.getElementById(id);
let form = null;
let page = 1;
let chosen = 0;
let past = [];
let future = [];
let timer = 0;
let wrong = () => ""; // what was refused, in the language of the page

// Changes ----------------------------------------------------------------------------------------

/** Keep what was, so that it can be undone; then change it, draw and save. */
function change(act) {
  past.push(JSON.stringify(form.fields));
  future = [];
  act();
  draw();
  saveSoon();
}

function revert(from, to) {
  if (!from.length) return;
  to.push(JSON.stringify(form.fields));
  form.fields = JSON.parse(from.pop());
  chosen = Math.min(chosen, form.fields.length - 1);
  draw();
  saveSoon();
}

function saveSoon() {
  clearTimeout(timer);
  at("state").textContent = say("notSaved");
  timer = setTimeout(save, WAIT);
}

async function save() {
  const fields = form.fields.map(known);
  const answer = await fetch("v1/form", {
    method: "PUT",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name: form.name, fields }),
  }).catch(() => null);
  if (answer?.ok) wrong = () => "";
  else if (answer) wrong = ((reason) => () => say("refused", reason))((await answer.json()).detail);
  else wrong = () => say("lost");
  tell();
}

/** Whether the form is saved, in the language of the page. */
function tell() {
  at("wrong").textContent = wrong();
  at("wrong").hidden = !wrong();
  at("state").textContent = wrong() ? say("notSaved") : say("saved", form.file);
}

/** A field without what its kind does not have. */
function known(field) {
  const kept = { name: field.name, kind: field.kind, boxes: field.boxes, page: field.page };
  if (field.required) kept.required = true;
  if (["digits", "number", "date"].includes(field.kind) && field.pattern) kept.pattern = field.pattern;
  if (field.kind === "digits") kept.digits = field.boxes.length > 1 ? field.boxes.length : field.digits;
  if (field.kind === "number") kept.decimals = field.decimals ?? 0;
  if (["digits", "number"].includes(field.kind) && field.range) kept.range = field.range;
  if (field.kind === "date") kept.format = field.format;
  if (field.kind === "choice") kept.options = field.options?.length ? field.options : [];
  return kept;
}

function setKind(field, kind) {
  field.kind = kind;
  if (kind === "tick" || kind === "text") field.boxes = [outline(field.boxes)];
  if (kind !== "choice") field.options = [];
}

function add(box) {
  const names = new Set(form.fields.map((field) => field.name));
  let number = form.fields.length + 1;
  while (names.has(`number_${number}`)) number += 1;
  change(() => {
    form.fields.push({ name: `number_${number}`, kind: "number", boxes: [box], page, decimals: 0 });
    chosen = form.fields.length - 1;
  });
  nameInput(chosen)?.select();
}

function remove(index) {
  change(() => {
    form.fields.splice(index, 1);
    chosen = Math.max(0, Math.min(index, form.fields.length - 1));
  });
  area(chosen)?.focus();
}

function choose(index) {
  chosen = index;
  for (const item of document.querySelectorAll("[data-field]")) {
    const own = Number(item.dataset.field) === index;
    item.classList.toggle("chosen", own);
    if (item.tagName === "LI") item.setAttribute("aria-current", String(own));
    if (item.tagName === "LI" && own) item.scrollIntoView({ block: "nearest" });
  }
}

// The list ---------------------------------------------------------------------------------------

const nameInput = (index) => at("fields").querySelector(`[data-field="${index}"] .title`);
const area = (index) => at("sheet").querySelector(`[data-field="${index}"]`);

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function listItem(field, index) {
  const title = element("input", { type: "text", className: "title", value: field.name });
  title.setAttribute("aria-label", say("nameOf", index + 1));
  title.addEventListener("change", () => change(() => (field.name = title.value.trim())));
  const kind = element("select", {}, ...KINDS.map((name) => new Option(say("kinds")[name], name)));
  kind.value = field.kind;
  kind.setAttribute("aria-label", say("kindOf", field.name));
  kind.addEventListener("change", () => change(() => setKind(field, kind.value)));
  const gone = element("button", { type: "button", className: "remove quiet", textContent: "×" });
  gone.setAttribute("aria-label", say("removeField", field.name));
  gone.addEventListener("click", () => remove(index));
  const item = element("li", {}, element("div", { className: "first" }, title, kind, gone));
  item.dataset.field = index;
  if (index === chosen) item.append(more(field));
  item.addEventListener("focusin", () => {
    if (chosen === index) return;
    if (field.page !== page) page = field.page;
    const had = document.activeElement === kind ? "select" : ".title";
    chosen = index;
    draw();
    at("fields").querySelector(`[data-field="${index}"] ${had}`)?.focus();
  });
  return item;
}

function labelled(word, input, act) {
  input.addEventListener("change", () => change(() => act(input)));
  return element("label", {}, say(word), input);
}

function entry(word, value, act, type = "text", limits = {}) {
  return labelled(word, element("input", { type, value: value ?? "", ...limits }), act);
}

function more(field) {
  const rows = [];
  const { kind } = field;
  const count = { min: 1, max: 60 };
  if (["digits", "number", "date", "choice"].includes(kind)) {
    rows.push(entry("boxes", field.boxes.length, (input) => {
      const n = Math.min(Math.max(Math.round(Number(input.value)) || 1, 1), 60);
      field.boxes = parted(field.boxes, n);
      if (field.options?.length !== n) field.options = [];
    }, "number", count));
  }
  if (kind === "number") {
    rows.push(entry("decimals", field.decimals ?? 0, (input) => {
      field.decimals = Math.min(Math.max(Math.round(Number(input.value)) || 0, 0), 9);
    }, "number", { min: 0, max: 9 }));
  }
  if (kind === "date") rows.push(entry("format", field.format, (input) => (field.format = input.value)));
  if (kind === "choice") {
    const options = (field.options ?? []).join(", ");
    rows.push(entry("options", options, (input) => {
      field.options = input.value.split(/[,，]/).map((text) => text.trim()).filter(Boolean);
    }));
  }
  if (["digits", "number"].includes(kind)) {
    const limit = (i) => (input) => {
      const range = field.range ?? [0, 10 ** (field.boxes.length > 1 ? field.boxes.length : 6) - 1];
      range[i] = Number(input.value);
      field.range = input.value === "" ? null : range;
    };
    rows.push(entry("least", field.range?.[0], limit(0), "number", { step: "any" }));
    rows.push(entry("most", field.range?.[1], limit(1), "number", { step: "any" }));
  }
  if (["digits", "number", "date"].includes(kind)) {
    rows.push(entry("pattern", field.pattern, (input) => (field.pattern = input.value || null)));
  }
  const box = element("input", { type: "checkbox", checked: Boolean(field.required) });
  rows.push(labelled("required", box, (input) => (field.required = input.checked)));
  return element("div", { className: "more" }, ...rows);
}

// The sheet --------------------------------------------------------------------------------------

const size = () => form.sizes[page - 1];
const scale = () => size().width / at("sheet").clientWidth;

function place(item, box) {
  const { width, height } = size();
  item.style.left = `${(100 * box[0]) / width}%`;
  item.style.top = `${(100 * box[1]) / height}%`;
  item.style.width = `${(100 * box[2]) / width}%`;
  item.style.height = `${(100 * box[3]) / height}%`;
}

function areaOf(field, index) {
  const whole = outline(field.boxes);
  const item = element("div", { className: "area", tabIndex: 0 });
  item.dataset.field = index;
  item.setAttribute("role", "button");
  item.setAttribute("aria-label", say("area", field.name));
  item.append(element("b", { textContent: field.name }));
  for (const box of field.boxes.slice(1)) {
    const rule = element("i", {});
    rule.style.left = `${(100 * (box[0] - whole[0])) / whole[2]}%`;
    item.append(rule);
  }
  item.append(element("span", { className: "corner" }));
  place(item, whole);
  item.addEventListener("focus", () => chosen !== index && (choose(index), drawList()));
  item.addEventListener("pointerdown", (event) => drag(event, item, field));
  item.addEventListener("keydown", (event) => key(event, field, index));
  return item;
}

function drag(event, item, field) {
  if (event.button !== 0) return;
  event.preventDefault();
  event.stopPropagation();
  item.focus();
  const resizing = event.target.classList.contains("corner");
  const [x, y, width, height] = outline(field.boxes);
  follow(event, item, (dx, dy, ended) => {
    const moved = resizing ? [x, y, width + dx, height + dy] : [x + dx, y + dy, width, height];
    const box = inside(moved, size());
    place(item, box);
    if (ended && (dx || dy)) change(() => (field.boxes = fitted(field.boxes, box)));
    if (ended) area(chosen)?.focus();
  });
}

function follow(start, item, moved) {
  const factor = scale();
  const away = (event) => [(event.clientX - start.clientX) * factor, (event.clientY - start.clientY) * factor];
  item.setPointerCapture(start.pointerId);
  const over = new AbortController();
  const { signal } = over;
  item.addEventListener("pointermove", (event) => moved(...away(event), false), { signal });
  for (const end of ["pointerup", "pointercancel"]) {
    item.addEventListener(end, (event) => {
      over.abort();
      moved(...away(event), true);
    }, { signal });
  }
}

function drawNew(event) {
  if (event.button !== 0 || event.pointerType === "touch") return;
  event.preventDefault();
  const frame = at("sheet").getBoundingClientRect();
  const x = (event.clientX - frame.left - at("sheet").clientLeft) * scale();
  const y = (event.clientY - frame.top - at("sheet").clientTop) * scale();
  const item = element("div", { className: "area chosen" });
  at("sheet").append(item);
  follow(event, item, (dx, dy, ended) => {
    const box = inside([Math.min(x, x + dx), Math.min(y, y + dy), Math.abs(dx), Math.abs(dy)], size());
    place(item, box);
    if (!ended) return;
    item.remove();
    if (Math.min(Math.abs(dx), Math.abs(dy)) >= SMALLEST * scale()) add(box);
  });
}

function key(event, field, index) {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (way) {
    const step = event.altKey ? 1 : Math.max(1, Math.round(size().width / 200));
    const [x, y, width, height] = outline(field.boxes);
    const [dx, dy] = way.map((w) => w * step);
    const moved = event.shiftKey ? [x, y, width + dx, height + dy] : [x + dx, y + dy, width, height];
    change(() => (field.boxes = fitted(field.boxes, inside(moved, size()))));
    area(index)?.focus();
  } else if (event.key === "Delete" || event.key === "Backspace") {
    remove(index);
  } else if (event.key === "Enter") {
    nameInput(index)?.select();
  } else if (KINDS[Number(event.key) - 1] && !event.ctrlKey && !event.metaKey) {
    change(() => setKind(field, KINDS[Number(event.key) - 1]));
    area(index)?.focus();
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

// Drawing ----------------------------------------------------------------------------------------

const image = element("img", { alt: "" });

function drawList() {
  at("fields-title").textContent = say("fieldsTitle", form.fields.length);
  const top = document.querySelector(".queue").scrollTop;
  at("fields").replaceChildren(...form.fields.map(listItem));
  document.querySelector(".queue").scrollTop = top;
  choose(chosen);
}

function draw() {
  const source = `v1/form/pages/${page}`;
  if (image.getAttribute("src") !== source) image.src = source;
  const shown = form.fields.flatMap((field, index) => (field.page === page ? [areaOf(field, index)] : []));
  at("sheet").replaceChildren(image, ...shown);
  drawList();
  at("undo").disabled = !past.length;
  at("redo").disabled = !future.length;
  at("pages").hidden = form.sizes.length < 2;
  at("pages").replaceChildren(...form.sizes.map((_, i) => {
    const button = element("button", { type: "button", textContent: say("page", i + 1) });
    button.setAttribute("aria-pressed", String(page === i + 1));
    button.addEventListener("click", () => {
      page = i + 1;
      draw();
    });
    return button;
  }));
}

function speak() {
  fillIn();
  const chinese = document.documentElement.lang !== "en";
  at("language").textContent = chinese ? "English" : "中文";
  at("language").lang = chinese ? "en" : "zh-Hans";
  at("keys").replaceChildren(...say("keyList").map(([name, meaning]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: meaning }))));
  theme.name();
  if (form) {
    tell();
    draw();
  }
}

const theme = new ThemeButton(at("theme"));

function showKeys() {
  at("keys").hidden = !at("keys").hidden;
  at("help").setAttribute("aria-expanded", String(!at("keys").hidden));
}

/** A new field in the middle of what is seen of the page. */
function addHere() {
  const { width, height } = size();
  const frame = at("sheet").getBoundingClientRect();
  const middle = (Math.max(0, -frame.top) + Math.min(frame.height, innerHeight - frame.top)) / 2;
  add(inside([0.4 * width, middle * scale(), 0.2 * width, 0.03 * height], size()));
}

at("add").addEventListener("click", addHere);
at("undo").addEventListener("click", () => revert(past, future));
at("redo").addEventListener("click", () => revert(future, past));
at("help").addEventListener("click", showKeys);
at("sheet").addEventListener("pointerdown", drawNew);
at("language").addEventListener("click", () => {
  switchLanguage();
  speak();
});
document.addEventListener("keydown", (event) => {
  const writing = event.target.matches("input, select");
  if ((event.ctrlKey || event.metaKey) && "zy".includes(event.key) && !writing) {
    event.preventDefault();
    if (event.key === "y") revert(future, past);
    else revert(past, future);
  } else if (!writing && event.key === "a" && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    addHere();
  } else if (!writing && event.key === "?") {
    showKeys();
  }
});

form = await (await fetch("v1/form")).json();
at("name").textContent = form.name;
document.title = `${form.name} – Rowscan`;
speak();
