// Saving: sends each change to the server in order; what is not sent yet is kept in the browser.

import { Gone, Refused, comeback, reach } from "./service.js";

const KEY = "rowscan.unsaved";

/** A name that nobody else makes. */
export function unique() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** This tab's name; a tab that is loaded again keeps it, and so its undo. */
function sessionName() {
  try {
    const known = sessionStorage.getItem("rowscan.session") ?? unique();
    sessionStorage.setItem("rowscan.session", known);
    return known;
  } catch {
    return unique(); // storage may be forbidden
  }
}

/** Talk to the review: JSON there and back. */
export async function call(path, body) {
  const response = await reach(`v1/review${path}`, {
    method: body ? "POST" : "GET",
    body: body && JSON.stringify(body),
    headers: body && { "Content-Type": "application/json" },
  });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({ detail: response.statusText }));
  if (!response.ok) throw new Refused(response.status, answer.detail);
  return answer;
}

export class Saving {
  #queue = [];
  #sending = null;
  #session = sessionName();
  #key = KEY;
  database = "";

  /** `onState` hears "saved", "gone", or a Refused error. */
  constructor({ user, onState }) {
    this.user = user;
    this.onState = onState;
  }

  get author() {
    return { user: this.user() || "someone", session: this.#session, database: this.database };
  }

  get idle() {
    return this.#queue.length === 0;
  }

  /** Take up what an earlier visit could not send. */
  restore(database) {
    this.database = database;
    this.#key = `${KEY}.${database}`;
    try {
      this.#queue.unshift(...JSON.parse(localStorage.getItem(this.#key) ?? "[]"));
    } catch {
      // nothing was kept
    }
    this.flush();
  }

  /** Keep changes that are undone together under the name of a gesture. */
  save(gesture, changes) {
    const named = changes.map((change) => ({ event: unique(), ...change }));
    this.#queue.push({ ...this.author, gesture, changes: named });
    this.#keep();
    this.flush();
  }

  /** Resolves when everything has been saved. */
  flush() {
    this.#sending ??= this.#send().finally(() => {
      this.#sending = null;
    });
    return this.#sending;
  }

  async #send() {
    while (this.#queue.length) {
      try {
        await call("/corrections", this.#queue[0]);
        this.onState("saved");
      } catch (error) {
        if (error instanceof Gone) {
          this.onState("gone");
          await comeback();
          continue;
        }
        if (!(error instanceof Refused)) throw error;
        if (error.status === 503) {
          await new Promise((resolve) => setTimeout(resolve, 1000));
          continue;
        }
        this.onState(error);
        if (error.status === 409) return; // kept for when that folder is served again
      }
      this.#queue.shift();
      this.#keep();
    }
  }

  #keep() {
    try {
      if (this.#queue.length) localStorage.setItem(this.#key, JSON.stringify(this.#queue));
      else localStorage.removeItem(this.#key);
    } catch {
      // storage may be forbidden or full; then it is in memory
    }
  }
}
