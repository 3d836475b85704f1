// Service: requests to the server, and the ways in which they fail.

/** The server cannot be reached. */
export class Gone extends Error {}

/** The server refuses the request; `status` says why. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const PATIENCE = 20; // times that a busy server is asked again

/** Send a picture; the answer of the server. */
export async function ask(path, picture, options = {}) {
  return body(await send(path, picture, options));
}

/** A page of a file as a picture that browsers show; null if it has no such page. */
export async function page(file, number) {
  const response = await send(`v1/picture?page=${number}`, file);
  return response.status === 204 ? null : response.blob();
}

/** Keep a picture with its corrected text on the machine of the server; how many are kept. */
export async function keep(picture, text) {
  const form = new FormData();
  form.append("text", text);
  form.append("file", picture, "picture");
  return (await body(await send("v1/samples", form))).kept;
}

async function send(path, content, { signal, onBusy = () => {} } = {}) {
  const named = content instanceof FormData; // its type has a boundary, which the browser chooses
  const headers = named ? {} : { "Content-Type": content.type || "application/octet-stream" };
  for (let attempt = 0; ; attempt++) {
    const response = await reach(path, { method: "POST", body: content, headers, signal });
    if (response.ok) return response;
    if (response.status !== 503 || attempt === PATIENCE) {
      const { detail } = await body(response).catch(() => ({ detail: response.statusText }));
      throw new Refused(response.status, detail);
    }
    onBusy();
    await pause(1000 * (Number(response.headers.get("Retry-After")) || 1));
    signal?.throwIfAborted();
  }
}

/** Wait until the server answers again. */
export async function comeback() {
  for (let wait = 500; ; wait = Math.min(2 * wait, 4000)) {
    await pause(wait);
    try {
      if ((await reach("healthz", { cache: "no-store" })).ok) return;
    } catch {
      // not yet
    }
  }
}

export async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Gone();
  }
}

// The connection can also break during the answer.
async function body(response) {
  try {
    return await response.json();
  } catch (error) {
    throw error.name === "AbortError" || error instanceof SyntaxError ? error : new Gone();
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
