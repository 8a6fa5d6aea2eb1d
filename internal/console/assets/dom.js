// Elements are made without markup, so a text stays a text.

// element makes an element. An attribute that is a property ("className", "onclick", "value") is set as a property.
// Children are nodes and texts. Empty children are left out.
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

// table is a table with a heading for each column, and no rows.
export const table = (headings) => element("table", {},
  element("thead", {}, element("tr", {}, headings.map((text) => element("th", { scope: "col" }, text)))),
  element("tbody"));

export const row = (cells) => element("tr", {}, cells.map((cell) => element("td", {}, cell)));

// definitions lists pairs of a name and a value. Empty values are left out.
export function definitions(pairs) {
  return element("dl", {}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export const link = (hash, text) => element("a", { href: hash }, text);

export const accountLink = (id) => link("#/accounts/" + encodeURIComponent(id), id);

export const paymentLink = (id) => link("#/payments/" + encodeURIComponent(id), id);

export const button = (text, onclick) => element("button", { type: "button", onclick }, text);

// time shows a time in the reader's zone. The title is the service's text.
export const time = (text) => element("time", { dateTime: text, title: text }, new Date(text).toLocaleString());

// heading is the heading of a view. It takes the focus, so that a screen reader announces the view.
export const heading = (text) => element("h1", { tabIndex: -1 }, text);

// field is a labelled input.
export const field = (label, attributes) =>
  element("label", {}, element("span", {}, label), element("input", { autocomplete: "off", ...attributes }));

// textField is a labelled input of several lines.
export const textField = (label, attributes) =>
  element("label", {}, element("span", {}, label), element("textarea", attributes));

// choice is a labelled select. options are pairs of a value and its text.
export const choice = (label, name, options, chosen) =>
  element("label", {}, element("span", {}, label), element("select", { name },
    options.map(([value, text]) => element("option", { value, selected: value === chosen }, text))));

// checkbox is a labelled box.
export const checkbox = (label, attributes) =>
  element("label", { className: "checkbox" }, element("input", { type: "checkbox", ...attributes }), element("span", {}, label));

// metadataText has a line for each name and value.
export const metadataText = (metadata) => Object.entries(metadata).map(([name, value]) => `${name}: ${value}`).join("\n");
