// Elements are made without markup, so a text stays a text.

// element makes an element. An attribute that is a property ("className", "onclick", "value") is
// set as a property. Children are nodes and texts. Empty children are left out.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute in made && attribute !== "list") { // that property is read only
      made[attribute] = value;
    } else {
      made.setAttribute(attribute, value);
    }
  }
  made.append(...children.flat(Infinity).filter(Boolean));
  return made;
}

// table is a table with a heading for each column, and no rows. On a phone each row is a list of
// headings and values (console.css), so the roles say that it still is a table.
export const table = (headings) => element("table", { role: "table" },
  element("thead", { role: "rowgroup" }, element("tr", { role: "row" },
    headings.map((text) => element("th", { role: "columnheader", scope: "col" }, text)))),
  element("tbody", { role: "rowgroup" }));

// addRow adds a row to a table, and returns it.
export function addRow(shown, cells) {
  const headings = Array.from(shown.tHead.rows[0].cells, (cell) => cell.textContent);
  const row = element("tr", { role: "row" }, cells.map((cell, n) =>
    element("td", { role: "cell", "data-heading": headings[n] }, cell)));
  shown.tBodies[0].append(row);
  return row;
}

// scrolling is a frame in which a wide table scrolls. It takes the focus, for the arrow keys.
export const scrolling = (name, shown) =>
  element("div", { className: "scroll", role: "group", "aria-label": name, tabIndex: 0 }, shown);

// definitions lists pairs of a name and a value. Empty values are left out.
export function definitions(pairs) {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", {},
    given.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export const link = (hash, text) => element("a", { href: hash }, text);

export const accountLink = (id) => link("#/accounts/" + encodeURIComponent(id), id);

export const paymentLink = (id) => link("#/payments/" + encodeURIComponent(id), id);

export const button = (text, onclick) => element("button", { type: "button", onclick }, text);

// submitButton is a form's main button. A form with a question does what cannot be undone.
export const submitButton = (text, question) =>
  element("button", { type: "submit", className: question ? "danger" : "" }, text);

// focusOn puts the focus on an element that has no place in the order of the Tab key.
export function focusOn(shown) {
  shown.tabIndex = -1;
  shown.focus();
}

// replaceIn replaces an element's children. If one of them has the focus, the element gets it.
// Otherwise the focus would fall to the body, and the Tab key would begin at the top.
export function replaceIn(shown, ...children) {
  const focused = shown.contains(document.activeElement);
  shown.replaceChildren(...children.filter(Boolean));
  if (focused) {
    focusOn(shown);
  }
}

// statusNode shows a status in its colour.
export const statusNode = (status, text = status) =>
  element("span", { className: "status " + status }, text);

// time shows a time in the reader's zone. The title is the service's text.
export const time = (text) =>
  element("time", { dateTime: text, title: text }, new Date(text).toLocaleString());

// heading is the heading of a view. It takes the focus, so that a screen reader announces the view.
export const heading = (text) => element("h1", { tabIndex: -1 }, text);

// field is a labelled input.
export const field = (label, attributes) =>
  labelled(label, element("input", { autocomplete: "off", ...attributes }));

// textField is a labelled input of several lines.
export const textField = (label, attributes) => labelled(label, element("textarea", attributes));

// choice is a labelled select. options are pairs of a value and its text.
export const choice = (label, name, options, chosen) => labelled(label, element("select", { name },
  options.map(([value, text]) => element("option", { value, selected: value === chosen }, text))));

// labelled is an input below its label, with room for an error (field_errors.js).
const labelled = (label, input) => element("div", { className: "field" },
  element("label", {}, element("span", {}, label), input));

// checkbox is a labelled box.
export const checkbox = (label, attributes) => element("label", { className: "checkbox" },
  element("input", { type: "checkbox", ...attributes }), element("span", {}, label));

// metadataText has a line for each name and value.
export const metadataText = (metadata) =>
  Object.entries(metadata).map(([name, value]) => `${name}: ${value}`).join("\n");
