// Docs: shows the OpenAPI description of the service, without loading other hosts.

const { paths, components } = await (await fetch("openapi.json")).json();

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function resolve(schema) {
  return schema.$ref ? components.schemas[schema.$ref.split("/").at(-1)] : schema;
}

/** A schema as an example of JSON, with types instead of values. */
function outline(schema) {
  const { type, properties, items, prefixItems, anyOf } = resolve(schema);
  if (anyOf) return anyOf.map(outline).find((one) => one !== "null");
  if (properties) {
    const entries = Object.entries(properties);
    return Object.fromEntries(entries.map(([key, value]) => [key, outline(value)]));
  }
  if (prefixItems) return prefixItems.map(outline);
  if (items) return [outline(items), "…"];
  return type;
}

/** The type of a value that may be missing. */
function kind(schema) {
  const { type, anyOf } = resolve(schema);
  return type ?? anyOf.map(kind).find((one) => one !== "null");
}

/** JSON on several lines, but lists of plain values on one. */
function pretty(value) {
  return JSON.stringify(value, null, 2).replace(/\[\s+("[^\]{}[]*")\s+\]/g, (_, inner) => {
    return `[${inner.replace(/\s+/g, " ")}]`;
  });
}

function example(path, operation) {
  const to = new URL(`.${path}`, location.href);
  return operation.requestBody ? `curl --data-binary @number.jpg ${to}` : `curl ${to}`;
}

function describe(method, path, operation) {
  const section = element("section");
  const add = (...parts) => section.append(...parts);
  add(element("h2", `${method.toUpperCase()} ${path}`), element("p", operation.summary));
  for (const part of (operation.description ?? "").split("\n\n").filter(Boolean)) {
    const words = part.split("`").map((text, i) => (i % 2 ? element("code", text) : text));
    add(element("p", "", ...words));
  }
  add(element("h3", "Example"), element("pre", example(path, operation)));
  const query = (operation.parameters ?? []).filter((one) => one.in === "query");
  if (query.length) {
    const rows = query.map(({ name, description, schema }) => [
      name,
      `${description} (${kind(schema)}${schema.default == null ? "" : `, default ${schema.default}`})`,
    ]);
    add(element("h3", "Query"), table(rows));
  }
  const { 200: good, ...bad } = operation.responses;
  const schema = good.content?.["application/json"]?.schema;
  const answer = schema && outline(schema); // a picture has none
  if (answer) add(element("h3", "Answer"), element("pre", pretty(answer)));
  const errors = Object.entries(bad).map(([status, { description }]) => [status, description]);
  if (errors.length) add(element("h3", "Errors, as {\"detail\": …}"), table(errors));
  return section;
}

function table(rows) {
  const lines = rows.map((cells) => element("tr", "", ...cells.map((cell) => element("td", cell))));
  return element("table", "", ...lines);
}

for (const [path, methods] of Object.entries(paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    document.getElementById("operations").append(describe(method, path, operation));
  }
}
