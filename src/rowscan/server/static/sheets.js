// Sheets: the pictures that were opened, one after the other, each with its reading. A document is
// a sheet for each page; what browsers cannot show, the service draws.

import { Gone, comeback, page } from "./service.js";

const SHOWN = new Set(["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"]);

export class Sheets {
  #all = [];
  #place = -1;
  #turn = 0; // counts openings: an earlier one stops

  get current() {
    return this.#all[this.#place] ?? null;
  }

  get all() {
    return this.#all;
  }

  get place() {
    return this.#place;
  }

  /** Open files; `onMore` is called with each sheet that is there. */
  async open(files, onMore) {
    this.close();
    const turn = this.#turn;
    for (const file of files) {
      for await (const sheet of pages(file)) {
        if (turn !== this.#turn) return URL.revokeObjectURL(sheet.url);
        this.#all.push(sheet);
        if (this.#place < 0) this.#place = 0;
        onMore(sheet);
      }
    }
  }

  close() {
    this.#turn++;
    for (const { url } of this.#all) URL.revokeObjectURL(url);
    this.#all = [];
    this.#place = -1;
  }

  turn(by) {
    this.#place = Math.min(Math.max(this.#place + by, 0), this.#all.length - 1);
  }

  /** The next one that has not been read. */
  unread() {
    return this.#all.find((sheet) => !sheet.reading && !sheet.error);
  }
}

async function* pages(file) {
  if (SHOWN.has(file.type)) return yield asSheet(file, file.name, null);
  for (let number = 1; ; number++) {
    let drawn;
    try {
      drawn = await page(file, number);
    } catch (error) {
      if (error instanceof Gone) {
        await comeback();
        number--;
        continue;
      }
      return yield { ...asSheet(file, file.name, null), error };
    }
    if (!drawn) return;
    yield asSheet(drawn, file.name, number);
  }
}

function asSheet(blob, name, number) {
  return { blob, name: name ?? "", number, url: URL.createObjectURL(blob), reading: null, text: null };
}

